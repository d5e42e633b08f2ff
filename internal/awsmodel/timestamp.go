package awsmodel

import (
	"math"
	"strconv"
	"time"
)

// A Timestamp travels as seconds since the epoch, with milliseconds as a
// fraction.
type Timestamp struct{ time.Time }

// Time returns t as a member of a response.
func Time(t time.Time) *Timestamp { return &Timestamp{t} }

// MarshalJSON writes t as a number.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(t.UnixMilli())/1000, 'f', -1, 64), nil
}

// timestampOf reads the number of seconds that a caller sent.
func timestampOf(seconds float64) Timestamp {
	whole, fraction := math.Modf(seconds)
	return Timestamp{time.Unix(int64(whole), int64(math.Round(fraction*1e3))*int64(time.Millisecond)).UTC()}
}
