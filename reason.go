package deferd

import (
	"fmt"
	"net/http"
	"time"
)

// A Reason says what ended an attempt. It is recorded as it is, so it is the
// true one; how it reads to the caller is in the message beside it.
type Reason string

const (
	NoReason Reason = ""

	// What the model said or did. All but ModelBusy are final.
	ModelOK          Reason = "ok"
	ModelClientError Reason = "model_client_error" // 4xx
	ModelServerError Reason = "model_server_error" // 5xx, 3xx
	ModelNoAnswer    Reason = "model_no_answer"    // connection closed or answer broken, instance alive
	ModelTimeout     Reason = "timeout"            // InvocationTimeoutSeconds
	ModelBusy        Reason = "model_busy"         // 429 or 503 with Retry-After

	// What the platform broke.
	NotReady      Reason = "not_ready"      // connection refused
	InstanceLost  Reason = "instance_lost"  // the instance went while it ran
	OutOfMemory   Reason = "out_of_memory"  // the same, where that is known
	DownloadLost  Reason = "download_lost"  // S3 failed on the input again and again, or it changed
	UploadLost    Reason = "upload_lost"    // S3 refused a part of the output again and again
	ServerDied    Reason = "server_died"    // the server that held the session died
	ServerStopped Reason = "server_stopped" // it stopped in order
	AgentLost     Reason = "agent_lost"     // a remote agent fell silent
	NeverArrived  Reason = "never_arrived"  // the claim's answer did not reach the agent
	InstanceEnded Reason = "instance_ended" // the instance was drained or replaced in order

	// What ends an invocation without its model.
	Download        Reason = "download" // input missing, unreadable or too large
	UploadFailed    Reason = "upload"   // the object store refuses the outcome for good
	TTLExpired      Reason = "expired"  // RequestTTLSeconds
	CancelRequested Reason = "cancelled"
	EndpointDeleted Reason = "endpoint_deleted"
)

// end is the terminal state that a reason leads to when it is final.
func (r Reason) end() State {
	switch r {
	case ModelOK:
		return Completed
	case ModelTimeout, TTLExpired:
		return Expired
	case CancelRequested:
		return Cancelled
	}
	return Failed
}

// A Verdict is what becomes of an invocation after an attempt.
type Verdict struct {
	Again  bool          // back to the queue; otherwise the reason is final
	Counts bool          // the attempt counts
	Wait   time.Duration // before it is tried again
}

// Judge decides, from the reason that ended an attempt, whether the invocation
// is tried again. Attempts and deaths are what the invocation had before, not
// counting this one. It is the only place that decides this.
func Judge(r Reason, attempts, deaths int) Verdict {
	switch r {
	case NotReady, ModelBusy, ServerStopped, NeverArrived, InstanceEnded:
		return Verdict{Again: true}
	case ServerDied:
		return Verdict{Again: deaths+1 < MaxServerDeaths}
	case InstanceLost, OutOfMemory, DownloadLost, UploadLost, AgentLost:
		if attempts+1 < MaxAttempts {
			return Verdict{Again: true, Counts: true, Wait: time.Second << (2 * attempts)}
		}
	}
	return Verdict{Counts: true}
}

// LosesInstance reports whether r took the instance down with it, which makes
// the invocation a suspect: an instance runs one suspect at a time.
func (r Reason) LosesInstance() bool { return r == InstanceLost || r == OutOfMemory }

// Return decides what becomes of inv when its lease ends without a settle, for
// reason r at time now: the outcome that it ends with, or nil to put it back
// into the queue. Message is what the caller is told if r turns out final.
func (inv *Invocation) Return(r Reason, message string, now time.Time, endpointGone bool) (*Outcome, Verdict) {
	v := Judge(r, inv.Attempts, inv.ServerDeaths)
	expired := !now.Before(inv.Accepted.Add(inv.TTL))
	var o Outcome
	switch {
	case !v.Again:
		o = End(r, messageOr(message, r))
	case endpointGone:
		o = End(EndpointDeleted, FailureMessage(EndpointDeleted))
	case expired && v.Counts:
		o = End(r, messageOr(message, r))
	case expired:
		o = inv.Expire()
	default:
		return nil, v
	}
	return &o, v
}

// Expire is how inv ends when its TTL is over while it waits: as expired if no
// attempt was counted, and with the last attempt's reason otherwise.
func (inv *Invocation) Expire() Outcome {
	if inv.Attempts > 0 {
		return End(inv.Reason, inv.Message)
	}
	return End(TTLExpired, ExpiredMessage(inv.TTL))
}

func messageOr(message string, r Reason) string {
	if message != "" {
		return message
	}
	return FailureMessage(r)
}

// seeLogs is how the failureReason of SageMaker's error notifications ends.
const seeLogs = "See the SageMaker Endpoint logs in your account for more information."

// StatusReason is the reason that a model's answer gives. Only an answer that
// asks for patience, 429 or 503 with a Retry-After, is not final.
func StatusReason(status int, retryAfter bool) Reason {
	switch {
	case status >= 200 && status < 300:
		return ModelOK
	case retryAfter && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable):
		return ModelBusy
	case status >= 400 && status < 500:
		return ModelClientError
	}
	return ModelServerError
}

// StatusMessage is the failureReason for a model's answer; status 0 stands for
// none.
func StatusMessage(status int) string {
	side := "server"
	if status >= 400 && status < 500 {
		side = "client"
	}
	return fmt.Sprintf("ClientError: Received %s error (%d) from model. %s", side, status, seeLogs)
}

// ExpiredMessage is the failureReason of an invocation that waited too long.
func ExpiredMessage(ttl time.Duration) string {
	return fmt.Sprintf("ClientError: Request expired: maximum age of %d seconds in the queue was exceeded.", int(ttl/time.Second))
}

// FailureMessage is the failureReason for r where nothing more is known.
func FailureMessage(r Reason) string {
	switch r {
	case ModelNoAnswer, ModelTimeout:
		return StatusMessage(0)
	case InstanceLost:
		return "InternalError: The model instance was lost while it ran the request, in every attempt. " + seeLogs
	case OutOfMemory:
		return "ClientError: The model instance ran out of memory while it ran the request. " + seeLogs
	case ServerDied:
		return "InternalError: The server stopped unexpectedly while the request ran, again and again."
	case AgentLost:
		return "InternalError: Contact with the model instance was lost while it ran the request, in every attempt."
	case DownloadLost, Download:
		return "ClientError: Unable to download the input object."
	case UploadLost, UploadFailed:
		return "ClientError: Unable to upload the response to its S3 location."
	case CancelRequested:
		return "ClientError: Request cancelled."
	case EndpointDeleted:
		return "ClientError: The endpoint was deleted before the request was processed."
	}
	return "InternalError: The request failed."
}
