package agent

import (
	"fmt"

	"github.com/deferd/deferd"
)

// maxQuote is how much of a failed answer the endpoint's log quotes, in bytes.
const maxQuote = 1 << 10

// line is what the endpoint's log says about a verdict, in the words that
// clients of SageMaker's log search for. It is one line.
func (t *attempt) line(v verdict) string {
	o := v.outcome
	switch {
	case o == nil:
		return fmt.Sprintf("Attempt %d did not end and was given back: %s.%s", t.Attempt, v.reason, spaced(v.note))
	case o.State == deferd.Completed:
		return fmt.Sprintf("Inference request succeeded. ModelLatency: %d us, RequestDownloadLatency: %d us, ResponseUploadLatency: %d us.%s",
			t.times.Model.Microseconds(), t.times.Download.Microseconds(), t.times.Upload.Microseconds(), spaced(v.note))
	case o.Reason == deferd.Download:
		return o.Message
	case o.ModelStatus >= 400 && o.ModelStatus < 500:
		return fmt.Sprintf("Received client error (%d) from primary with message %q.", o.ModelStatus, v.note)
	}
	return fmt.Sprintf("Received server error (%d) from primary with message %q.", o.ModelStatus, v.note)
}

func spaced(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}
