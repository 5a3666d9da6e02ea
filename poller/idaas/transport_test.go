package idaas

import (
	"crypto/tls"
	"net/http"
	"reflect"
	"testing"
)

func TestNewTransport(t *testing.T) {
	transport := NewTransport(nil)
	if transport.TLSClientConfig.MinVersion != tls.VersionTLS12 || transport.TLSClientConfig.InsecureSkipVerify {
		t.Errorf("%+v", transport.TLSClientConfig)
	}
	if reflect.ValueOf(transport.Proxy).Pointer() != reflect.ValueOf(http.ProxyFromEnvironment).Pointer() {
		t.Error("the proxy is not that of the environment")
	}
}
