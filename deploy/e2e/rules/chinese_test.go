package rules

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/prometheus/prometheus/model/rulefmt"
)

var update = flag.Bool("update", false, "rewrite the table of alerts in README.zh-CN.md")

// chinese has the meaning of each alert for the table in README.zh-CN.md.
var chinese = map[string]string{
	"IDaaSConsumersUnwatched":       "实例中有应用未被任何目标监控",
	"IDaaSConsumerDiscoveryFailing": "无法列出应用，或列表不可信；新建的应用不会被监控",
	"IDaaSOverridesIgnored":         "仍有规则文件包含已失效的阈值",
	"IDaaSExporterGone":             "一天内抓取过的 Exporter 已不在 Prometheus 的抓取目标中",
	"IDaaSTargetsRetired":           "超过 35 天没有令牌的目标，合并为一条告警",
	"IDaaSTokensOverdue":            "间歇使用的消费者未按时获得下一个令牌",
	"IDaaSTokensNotRenewed":         "只剩通常续期余量的一半，仍未续期",
	"IDaaSAPIThrottled":             "一小时内超过 5% 的 API 请求被限流",
	"IDaaSAccessTokenUnavailable":   "Exporter 无法获取自身的访问令牌",
	"IDaaSAllTargetsFailing":        "某个 Exporter 连续两个轮询周期没有任何完整读取",
	"IDaaSClockSkew":                "本机时钟与 API 时钟相差超过 1 分钟",
	"IDaaSDataStale":                "目标超过两个轮询周期加 10 分钟没有完整读取",
	"IDaaSExporterAbsent":           "Prometheus 中没有任何 Exporter 的数据",
	"IDaaSExporterDown":             "Exporter 抓取失败，或反复崩溃重启",
	"IDaaSProviderDiscoveryFailing": "无法列出凭据提供商，或列表不可信；新建的提供商不会被监控",
	"IDaaSReloadFailed":             "新的目标文件有错误，继续使用旧目标",
	"IDaaSRevocationsRising":        "一小时内吊销的令牌超过 10 个",
	"IDaaSScrapedRarely":            "抓取间隔为 5 分钟或更长，告警不可靠",
	"IDaaSShardMissing":             "缺少分片，部分目标无人监控",
	"IDaaSStateNotWritten":          "状态文件写入失败",
	"IDaaSTargetAccessDenied":       "某个目标被拒绝访问：授权、标识或凭据有误",
	"IDaaSTargetFailing":            "某个目标因其他原因读取失败",
	"IDaaSTargetsDropped":           "未经重新加载，监控的目标数降到一天内最大值的一半以下",
	"IDaaSTargetsSkipped":           "一轮读取的时间超过轮询周期",
	"IDaaSTokenCountMismatch":       "连续三个周期，读到的令牌数与 API 报告的总数不一致",
	"IDaaSTokensAboutToEnd":         "最后一个令牌的剩余时间不足有效期的 5%（最多 1 天）",
	"IDaaSTokensAtRisk":             "续期规律未知，最后一个令牌的剩余时间不足有效期的 20%（最多 7 天）",
	"IDaaSTokensLost":               "始终持有令牌的消费者已没有有效令牌，完整读取已确认",
	"IDaaSTokensNeverExpire":        "存在永不过期的令牌",
}

// TestChineseAlerts: the table in README.zh-CN.md has every alert with its severity, the most severe first. -update rewrites it.
func TestChineseAlerts(t *testing.T) {
	var rules []rulefmt.Rule
	for _, r := range ParseRules(t, e2e.ReadFile(t, e2e.Root+"/deploy/prometheus/rules.yaml")) {
		if r.Alert != "" {
			rules = append(rules, r)
		}
	}
	severities := []string{"critical", "warning", "info"}
	slices.SortStableFunc(rules, func(a, b rulefmt.Rule) int {
		return slices.Index(severities, a.Labels["severity"]) - slices.Index(severities, b.Labels["severity"])
	})
	table := "| 告警 | 级别 | 含义 |\n|---|---|---|\n"
	unused := len(chinese)
	for _, r := range rules {
		meaning, ok := chinese[r.Alert]
		if !ok {
			t.Errorf("%s has no meaning in Chinese: add one", r.Alert)
			continue
		}
		unused--
		table += fmt.Sprintf("| [%s](deploy/runbooks/%[1]s.md) | %s | %s |\n", r.Alert, r.Labels["severity"], meaning)
	}
	if unused != 0 {
		t.Errorf("%d meanings in Chinese are of no alert: remove them", unused)
	}
	file, begin, end := e2e.Root+"/README.zh-CN.md", "<!-- alerts -->\n", "<!-- /alerts -->"
	before, rest, ok := strings.Cut(e2e.ReadFile(t, file), begin)
	got, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s lacks the markers %q and %q", file, begin, end)
	case got == table:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of alerts in %s is out of date: run go test ./rules -run TestChineseAlerts -update in deploy/e2e", file)
	}
}
