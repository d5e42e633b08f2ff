package torture

import "testing"

// aContest is one in which two requests overlapped, both did well, and the
// second one had the last word.
func aContest() *Contest {
	n := &Contest{Key: outputKey("n")}
	for i, id := range []string{"first", "second"} {
		c := aCase()
		c.Request.ID, c.Request.Name, c.Request.Contested = id, "n", true
		c.Sent, c.Over = at(100*i), at(1000+100*i)
		c.Accepted[0] = Accepted{Invocation: "invocation-" + id, Output: n.Key}
		c.Status.InvocationID = "invocation-" + id
		c.Objects = nil
		n.Cases = append(n.Cases, c)
		n.Seen = append(n.Seen, Seen{
			Key: n.Key, First: at(300 + 100*i), Mark: c.Status.InvocationID, Noted: id, Body: answerBody(id, inputBody(id, 20), c.Request.Order),
		})
	}
	return n
}

func TestContestJudge(t *testing.T) {
	fail := func(n *Contest, i int) {
		n.Cases[i].Status.State, n.Cases[i].Status.Reason, n.Cases[i].Status.FailureReason = "Failed", "model_no_answer", "m"
	}
	tests := []struct {
		name    string
		change  func(*Contest)
		promise int // that is broken; -1: none
		says    string
	}{
		{"the last one stays", func(*Contest) {}, -1, ""},
		{"the first one stays, for it ran until then", func(n *Contest) { n.Seen[0], n.Seen[1] = n.Seen[1], n.Seen[0] }, -1, ""},
		{"the first one stays, though it had ended before", func(n *Contest) {
			n.Seen[0], n.Seen[1] = n.Seen[1], n.Seen[0]
			n.Cases[0].Over = at(50)
		}, 3, "which was over 50ms before request second was sent"},
		{"the first one stays, for the second one failed", func(n *Contest) {
			n.Cases[0].Over = at(50)
			fail(n, 1)
			n.Seen = n.Seen[:1]
		}, -1, ""},
		{"only the last one was seen", func(n *Contest) { n.Seen = n.Seen[1:] }, -1, ""},
		{"nothing was seen", func(n *Contest) { n.Seen = nil }, 1, "there is no object"},
		{"all failed", func(n *Contest) { fail(n, 0); fail(n, 1); n.Seen = nil }, -1, ""},
		{"one that failed was seen", func(n *Contest) { fail(n, 0) }, 2, "it is Failed"},
		{"a mix", func(n *Contest) {
			n.Seen[1].Body = append(n.Seen[1].Body[:40:40], n.Seen[0].Body[40:]...)
		}, 2, "begin with"},
		{"half of it", func(n *Contest) { n.Seen[0].Body = n.Seen[0].Body[:40] }, 2, "40 bytes"},
		{"the one's bytes and the other's name", func(n *Contest) { n.Seen[1].Mark = n.Seen[0].Mark }, 2, "begin with"},
		{"the one's bytes and the other's attributes", func(n *Contest) { n.Seen[1].Noted = n.Seen[0].Noted }, 2, "custom attributes"},
		{"somebody else's", func(n *Contest) { n.Seen[0].Mark = "other" }, 2, `invocation "other"`},
		{"gone in the end", func(n *Contest) { n.Seen[1].Changed = "was gone" }, 3, "was gone"},
		{"an attempt after its output", func(n *Contest) { n.Cases[0].Attempts[0].Start = at(350) }, 2, "after the object"},
		{"one was refused", func(n *Contest) {
			n.Cases[0].Status, n.Cases[0].Accepted = nil, nil
			n.Seen = n.Seen[1:]
		}, -1, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := aContest()
			test.change(n)
			wantBroken(t, n.Judge(History{}), test.promise, test.says)
		})
	}
}

// TestDrawContest looks whether what contends for a name can tell something:
// several requests, one name, and some of them fail.
func TestDrawContest(t *testing.T) {
	names, failing := map[string]int{}, 0
	for number := range 100 {
		for _, q := range Draw(3, number, Options{}).Requests {
			if !q.Contested {
				continue
			}
			names[q.Name]++
			if !q.Order.Answers200() {
				failing++
			}
			if len(q.Name) > 32 {
				t.Errorf("the name %q is too long", q.Name)
			}
		}
	}
	for name, n := range names {
		if n < 2 {
			t.Errorf("%d requests are given the name %s", n, name)
		}
	}
	if failing == 0 {
		t.Error("all of them succeed")
	}
}
