package deferd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// An AlarmState is what an alarm says of its metric, as CloudWatch spells it.
type AlarmState string

const (
	AlarmOK           AlarmState = "OK"
	AlarmRaised       AlarmState = "ALARM"
	AlarmInsufficient AlarmState = "INSUFFICIENT_DATA"
)

// An Alarm watches a statistic of one metric. It is kept as a document of kind
// KindAlarm under its name, whose body is its JSON.
type Alarm struct {
	Account     AccountID
	Name        string
	ARN         string
	Description string `json:",omitempty"`

	Namespace  string
	Metric     string
	Dimensions Dimensions
	Unit       string `json:",omitempty"` // "": any
	Statistic  string // Average, Sum, Minimum, Maximum or SampleCount

	Period      time.Duration // a whole number of minutes
	Periods     int           // how many are looked at
	Datapoints  int           // how many of them must breach
	Threshold   float64
	Comparison  string // as CloudWatch's ComparisonOperator
	MissingData string // as CloudWatch's TreatMissingData; "" stands for missing

	ActionsEnabled      bool
	AlarmActions        []string `json:",omitempty"` // ARNs
	OKActions           []string `json:",omitempty"`
	InsufficientActions []string `json:",omitempty"`

	Tags []Tag `json:",omitempty"`

	Configured time.Time // when it was last put

	State       AlarmState
	Reason      string
	ReasonData  string    `json:",omitempty"` // JSON
	Updated     time.Time // when the state was last set
	Transitions time.Time // when it last became another
}

// Document is the alarm as it is stored; the version is that of the document
// that it replaces.
func (a *Alarm) Document(version int64) (Document, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return Document{}, fmt.Errorf("write alarm %s: %w", a.Name, err)
	}
	return Document{Kind: KindAlarm, Account: a.Account, Name: a.Name, Version: version, Body: body}, nil
}

// AlarmOf reads a stored alarm.
func AlarmOf(d Document) (Alarm, error) {
	var a Alarm
	if err := json.Unmarshal(d.Body, &a); err != nil {
		return a, fmt.Errorf("read alarm %s: %w", d.Name, err)
	}
	return a, nil
}

// Actions are what is to be done when the alarm comes into a state.
func (a *Alarm) Actions(s AlarmState) []string {
	switch {
	case !a.ActionsEnabled:
		return nil
	case s == AlarmRaised:
		return a.AlarmActions
	case s == AlarmOK:
		return a.OKActions
	}
	return a.InsufficientActions
}

// An AlarmChange is an alarm that has come into a state, or is still in it.
type AlarmChange struct {
	Alarm Alarm      // as it is now
	Old   AlarmState // what it was before; the same where it is still in it
	Value float64    // of the newest period that has one
	Known bool       // there is such a period
	At    time.Time
}

// An AlarmAction does what an alarm asks for: the action with this ARN, such as
// a scaling policy. It may be called again for the same change. Again says that
// it wants to hear of the alarm after every period in which that stays as it is.
type AlarmAction func(ctx context.Context, arn string, c AlarmChange) (again bool, err error)
