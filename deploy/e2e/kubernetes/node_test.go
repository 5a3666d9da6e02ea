//go:build cluster

package kubernetes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

const nodeAddress = "10.77.0.1" // pods are in 10.78.0.0/24

// node is Kubernetes with one node, where pods run. NetworkPolicies are not enforced, and there is no DNS.
type node struct {
	*kubernetes
	e2e.Network
	dir string
}

func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{Network: e2e.NewNetwork(t), dir: t.TempDir()}
	keepSysctls(t)
	for _, line := range []string{
		"ip link add node0 type veth peer name node0x",
		"ip link set node0x up",
		"ip addr add " + nodeAddress + "/24 dev node0",
		"ip link set node0 up",
		"ip route add default dev node0",
		"sysctl -qw net.ipv4.ip_forward=1",
	} {
		args := append(n.Network.Enter(), strings.Fields(line)...)
		e2e.Command(t, nil, args[0], args[1:]...)
	}
	n.kubernetes = startKubernetes(t, n.Network.Enter(), "--kubelet-preferred-address-types=InternalIP",
		"--bind-address=0.0.0.0", "--advertise-address="+nodeAddress, "--endpoint-reconciler-type=lease")
	n.startKubelet(t)
	began := time.Now()
	e2e.Eventually(t, 2*time.Minute, "node", func() error {
		_, err := n.try(t, "kubectl", "wait", "--for", "condition=Ready", "node/node1", "--timeout", "2s")
		return err
	})
	t.Log("the node was ready after", time.Since(began).Round(time.Second))
	return n
}

// startKubelet starts what makes pods run, in a process namespace of its own, whose end is the end of all of them.
func (n *node) startKubelet(t *testing.T) {
	t.Helper()
	tools := filepath.Dir(e2e.Tool(t, "kubelet"))
	plugins, err := filepath.Abs(e2e.Root + "/.tools/cni/usr/lib/cni")
	if err != nil {
		t.Fatal(err)
	}
	e := e2e.Containers(t)
	e.Add(t, "localhost/pause:e2e", map[string]string{"/bin/busybox": e2e.LookPath(t, "busybox")},
		"--entrypoint", `["/bin/busybox", "sleep", "infinity"]`)
	config := strings.NewReplacer("DIR", n.dir, "TOOLS", tools, "PLUGINS", plugins, "KUBECONFIG", n.kubernetes.dir+"/kubeconfig",
		"ADDRESS", nodeAddress, "PAUSE", save(t, e, "localhost/pause:e2e"))
	files := map[string]string{}
	for name, text := range nodeFiles {
		files[name] = config.Replace(text)
	}
	if err := e2e.WriteFiles(n.dir, files); err != nil {
		t.Fatal(err)
	}
	args := append(n.Network.Enter(), "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
		"--propagation", "private", "sh", n.dir+"/init.sh")
	all := exec.Command(args[0], args[1:]...)
	log := &e2e.LogFile{}
	all.Stdout, all.Stderr = log, log
	all.Env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"))
	if err := all.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		all.Process.Kill() // and with it, by kill-child, process 1 of the namespace
		all.Wait()
		if t.Failed() {
			kubelet, _ := e2e.Try(t, nil, "tail", "-n", "20", n.dir+"/kubelet.log", n.dir+"/containerd.log")
			t.Logf("%s\n%s", log.Tail(), kubelet)
		}
		// Busy until the last process is gone.
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(e2e.Poll) {
			_, err := e2e.Try(t, nil, "sh", "-c",
				"! ls -d /sys/fs/cgroup/*/k8s.io >/dev/null 2>&1 || find /sys/fs/cgroup/*/k8s.io -depth -type d -exec rmdir {} +")
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Error(err)
				break
			}
		}
	})
}

// keepSysctls puts back what kubelet changes.
func keepSysctls(t *testing.T) {
	t.Helper()
	for _, name := range []string{"kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory"} {
		path := "/proc/sys/" + name
		before := e2e.ReadFile(t, path)
		t.Cleanup(func() {
			if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
				t.Error(err)
			}
		})
	}
}

// save returns a file with an image.
func save(t *testing.T, e *e2e.Engine, image string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	e.Run(t, "buildah", "push", "-q", image, "docker-archive:"+file+":"+image)
	return file
}

// load gives images to the node: it has no registry.
func (n *node) load(t *testing.T, images ...string) {
	t.Helper()
	for _, image := range images {
		archive := save(t, e2e.Containers(t), image)
		e2e.Command(t, nil, e2e.Tool(t, "ctr"), "--address", n.dir+"/containerd.sock", "--namespace", "k8s.io", "images", "import", archive)
	}
}

var podNames = regexp.MustCompile(`^pod/`)

// pods returns the names of the ready pods with a label, in order.
func (n *node) pods(t *testing.T, namespace, selector string) []string {
	t.Helper()
	var names []string
	for _, line := range strings.Fields(n.run(t, "kubectl", "-n", namespace, "get", "pods", "-l", selector, "-o", "name")) {
		names = append(names, podNames.ReplaceAllString(line, ""))
	}
	slices.Sort(names)
	return names
}

// field returns a field of an object.
func (n *node) field(t *testing.T, namespace, object, path string) string {
	t.Helper()
	return n.run(t, "kubectl", "-n", namespace, "get", object, "-o", "jsonpath={"+path+"}")
}

// scrape asks a pod for its metrics.
func (n *node) scrape(t *testing.T, namespace, pod string) (string, error) {
	return n.Get(t.Context(), fmt.Sprintf("http://%s:9877/metrics", n.field(t, namespace, "pod/"+pod, ".status.podIP")))
}

// nodeFiles configure the parts of the node, for control groups of either version, without systemd, and with few rights.
var nodeFiles = map[string]string{
	"net.d/10-pods.conflist": `{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "DIR/ipam", "ranges": [[{"subnet": "10.78.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`,
	"containerd.toml": `version = 3
root = "DIR/containerd"
state = "DIR/state"
[grpc]
  address = "DIR/containerd.sock"
[ttrpc]
  address = "DIR/containerd.sock.ttrpc"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["PLUGINS"]
    conf_dir = "DIR/net.d"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "localhost/pause:e2e"
`,
	"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://DIR/containerd.sock
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}} # reachable only inside the network
authorization: {mode: AlwaysAllow}
address: ADDRESS
readOnlyPort: 0
healthzBindAddress: 127.0.0.1
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
cgroupsPerQOS: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
evictionHard: {}
imageGCHighThresholdPercent: 100
oomScoreAdj: 0
syncFrequency: 5s
resolvConf: DIR/resolv.conf
volumePluginDir: DIR/volumeplugins
podLogsDir: DIR/podlogs
`,
	"proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: KUBECONFIG}
mode: iptables
clusterCIDR: 10.78.0.0/24
nodeIPOverride: [ADDRESS]
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0}
`,
	"resolv.conf": "",
	"init.sh": `mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns # the pods' namespaces go with this one
containerd -c DIR/containerd.toml >DIR/containerd.log 2>&1 &
kube-scheduler --kubeconfig KUBECONFIG --authentication-kubeconfig KUBECONFIG --authorization-kubeconfig KUBECONFIG --leader-elect=false \
  --bind-address 127.0.0.1 --secure-port 16459 --cert-dir DIR/scheduler >DIR/scheduler.log 2>&1 &
until ctr -a DIR/containerd.sock version >/dev/null 2>&1; do sleep 0.3; done
ctr -a DIR/containerd.sock -n k8s.io images import PAUSE
kubelet --kubeconfig KUBECONFIG --config DIR/kubelet.yaml --root-dir DIR/kubelet --cert-dir DIR/kubelet-certs \
  --hostname-override node1 --node-ip ADDRESS >DIR/kubelet.log 2>&1 &
kube-proxy --config DIR/proxy.yaml --hostname-override node1 >DIR/proxy.log 2>&1 &
wait
`,
}
