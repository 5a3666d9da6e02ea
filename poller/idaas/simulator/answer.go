package simulator

import (
	"net/http"
	"strconv"
)

// Shape is the form of an error body.
type Shape int

// Shapes of an error body: the service's {"error","error_description","request_id"}, its lower-case {"code","message","requestId"},
// the gateway's {"Code","Message","RequestId",…}, and plain text.
const (
	ShapeService Shape = iota
	ShapeLower
	ShapeGateway
	ShapeText
)

// answer is a response of the API, before faults.
type answer struct {
	status  int
	header  http.Header
	key     string // the most important member
	encode  func(*encoder)
	page    *page    // of a list call that succeeded
	listing *listing // of the management API
}

// reply is a request and the writer of its response.
type reply struct {
	w      http.ResponseWriter
	r      *http.Request
	id     string
	number int
}

func (a answer) body(requestID string, change alteration) []byte {
	e := encoder{alteration: change, requestID: requestID}
	a.encode(&e)
	return e.buf
}

func failure(status int, code, message string) answer {
	return ShapeService.failure(status, code, message)
}

func (s Shape) failure(status int, code, message string) answer {
	names := [...][3]string{
		ShapeService: {"error", "error_description", "request_id"},
		ShapeLower:   {"code", "message", "requestId"},
		ShapeGateway: {"Code", "Message", "RequestId"},
	}
	return answer{status: status, key: "error", encode: func(e *encoder) {
		if s == ShapeText {
			e.buf = append(e.buf, code+": "+message+"\n"...)
			return
		}
		e.open()
		e.text(names[s][0], code)
		e.text(names[s][1], message)
		e.text(names[s][2], e.requestID)
		if s == ShapeGateway {
			e.text("HostId", "eiam-developerapi.cn-hangzhou.aliyuncs.com")
			e.text("Recommend", "https://api.aliyun.com/troubleshoot")
		}
		e.end()
	}}
}

func (s *Server) send(to reply, status int, body []byte) {
	s.recordStatus(to.number, status)
	to.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	to.w.WriteHeader(status)
	_, _ = to.w.Write(body) // fails if the client has disconnected
}
