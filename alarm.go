package deferd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
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

// Notice is what a topic is told of a change, as CloudWatch words it, by an alarm
// of a region.
func (c AlarmChange) Notice(region string) (subject, message string) {
	a := &c.Alarm
	type dimension struct {
		Value string `json:"value"`
		Name  string `json:"name"`
	}
	dims := []dimension{}
	for _, d := range a.Dimensions.List() {
		dims = append(dims, dimension{d.Value, d.Name})
	}
	const layout = "2006-01-02T15:04:05.000+0000"
	list := func(arns []string) []string { return append([]string{}, arns...) }
	var unit *string
	if a.Unit != "" {
		unit = &a.Unit
	}
	notice := struct {
		AlarmName                          string
		AlarmDescription                   string
		AWSAccountID                       AccountID `json:"AWSAccountId"`
		AlarmConfigurationUpdatedTimestamp string
		NewStateValue                      AlarmState
		NewStateReason                     string
		StateChangeTime                    string
		Region                             string
		AlarmArn                           string
		OldStateValue                      AlarmState
		OKActions                          []string
		AlarmActions                       []string
		InsufficientDataActions            []string
		Trigger                            any
	}{
		a.Name, a.Description, a.Account, a.Configured.UTC().Format(layout), a.State, a.Reason, c.At.UTC().Format(layout), region, a.ARN, c.Old,
		list(a.OKActions), list(a.AlarmActions), list(a.InsufficientActions),
		struct {
			MetricName         string
			Namespace          string
			StatisticType      string
			Statistic          string
			Unit               *string
			Dimensions         []dimension
			Period             int
			EvaluationPeriods  int
			DatapointsToAlarm  int
			ComparisonOperator string
			Threshold          float64
			TreatMissingData   string
		}{
			a.Metric, a.Namespace, "Statistic", strings.ToUpper(a.Statistic), unit, dims, int(a.Period / time.Second), a.Periods, a.Datapoints,
			a.Comparison, a.Threshold, a.MissingData,
		},
	}
	b, err := json.Marshal(notice)
	if err != nil {
		b = []byte(a.Reason) // a threshold that JSON has no number for
	}
	return fmt.Sprintf("%s: %q in %s", a.State, a.Name, region), string(b)
}

// An AlarmAction does what an alarm asks for: the action with this ARN, such as
// a scaling policy. It may be called again for the same change. Again says that
// a scaling policy wants to hear of the alarm after every minute in which that
// stays as it is.
type AlarmAction func(ctx context.Context, arn string, c AlarmChange) (again bool, err error)
