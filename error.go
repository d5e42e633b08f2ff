package deferd

import (
	"errors"
	"fmt"
)

// A Code says what the caller of a failed operation can do about it.
type Code int

const (
	Internal    Code = iota // nothing: a bug or a broken part; somebody must look
	Invalid                 // send something else; the same request fails again
	NotFound                // name something that exists
	Exists                  // choose another name, or use what is there
	Busy                    // repeat when the change that is in progress has ended
	Denied                  // ask for permission
	Unavailable             // repeat later: nothing was done, or it may be repeated safely
	Lost                    // give up: the lease or session is not the current one
	Changed                 // start over: what was read has been replaced meanwhile
	TooLarge                // send less
)

var codeNames = [...]string{
	"internal", "invalid", "not found", "exists", "busy", "denied",
	"unavailable", "lost", "changed", "too large",
}

func (c Code) String() string {
	if c < 0 || int(c) >= len(codeNames) {
		return fmt.Sprintf("code %d", int(c))
	}
	return codeNames[c]
}

// An Error carries a Code and a message that is safe to show to the caller.
type Error struct {
	Code Code
	Msg  string
	Err  error // the cause, for the log only; may be nil
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Msg
	case e.Msg == "":
		return e.Err.Error()
	}
	return e.Msg + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an *Error whose message is for the caller.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// CodeOf reports the code of the first *Error in err's tree, or Internal.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
