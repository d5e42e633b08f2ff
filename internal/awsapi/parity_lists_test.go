package awsapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/sqlite"
)

// A listed is a thing as a list shows it. Times are seconds since the first
// thing was created.
type listed struct {
	name              string
	created, modified int
	status            string
}

var listedStatuses = []deferd.EndpointStatus{deferd.EndpointInService, deferd.EndpointFailed, deferd.EndpointUpdating}

// openLists is a server with 25 models, configurations and endpoints each, in
// no order: no two things have the same place by name, creation and change.
func openLists(t *testing.T) (s *site, things []listed) {
	now := listsBegin
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "lists.db"), sqlite.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s = open(t, func(c *Config) { c.Store = db })
	s.store = &store{Store: db}

	const n = 25
	at := func(second int) { now = listsBegin.Add(time.Duration(second) * time.Second) }
	for i := range n {
		at(i)
		name := fmt.Sprintf("thing-%02d", i*7%n)
		s.must("CreateModel", fmt.Sprintf(`{"ModelName":%q,"PrimaryContainer":{"Image":"i"}}`, name))
		s.must("CreateEndpointConfig", fmt.Sprintf(`{"EndpointConfigName":%q,"ProductionVariants":[{"VariantName":"v","ModelName":%[1]q}],"AsyncInferenceConfig":{"OutputConfig":{}}}`, name))
		s.must("CreateEndpoint", fmt.Sprintf(`{"EndpointName":%q,"EndpointConfigName":%[1]q}`, name))
		things = append(things, listed{name: name, created: i})
	}
	for i := range n { // each a while after the one before, so that the clock never goes back
		at(n + i)
		thing := &things[i*11%n]
		thing.modified = n + i
		status := listedStatuses[i%len(listedStatuses)]
		thing.status = string(status)
		s.become(thing.name, status)
	}
	return s, things
}

var listsBegin = time.Unix(1_700_000_000, 0)

// An ask is a member of a list's request and what it means.
type ask struct {
	member string
	value  any
	keep   func(listed) bool
	less   func(a, b listed) int
}

var (
	filters = []ask{
		{member: "NameContains", value: "-1", keep: func(l listed) bool { return strings.Contains(l.name, "-1") }},
		{member: "NameContains", value: "THING-2", keep: func(l listed) bool { return strings.Contains(l.name, "thing-2") }},
		{member: "NameContains", value: "nothing", keep: func(listed) bool { return false }},
		{member: "CreationTimeBefore", value: sinceBegin(10), keep: func(l listed) bool { return l.created < 10 }},
		{member: "CreationTimeBefore", value: sinceBegin(9.5), keep: func(l listed) bool { return l.created < 10 }},
		{member: "CreationTimeAfter", value: sinceBegin(10), keep: func(l listed) bool { return l.created > 10 }},
	}
	endpointFilters = []ask{
		{member: "LastModifiedTimeBefore", value: sinceBegin(40), keep: func(l listed) bool { return l.modified < 40 }},
		{member: "LastModifiedTimeAfter", value: sinceBegin(40), keep: func(l listed) bool { return l.modified > 40 }},
		{member: "StatusEquals", value: "Failed", keep: func(l listed) bool { return l.status == "Failed" }},
		{member: "StatusEquals", value: "RollingBack", keep: func(listed) bool { return false }},
	}
	sorts = []ask{
		{less: func(a, b listed) int { return a.created - b.created }},
		{member: "SortBy", value: "CreationTime", less: func(a, b listed) int { return a.created - b.created }},
		{member: "SortBy", value: "Name", less: func(a, b listed) int { return strings.Compare(a.name, b.name) }},
	}
	endpointSorts = []ask{
		{member: "SortBy", value: "Status", less: func(a, b listed) int {
			return cmp.Or(strings.Compare(a.status, b.status), strings.Compare(a.name, b.name))
		}},
	}
)

// sinceBegin is a timestamp some seconds after the first thing was created.
func sinceBegin(n float64) float64 { return float64(listsBegin.Unix()) + n }

// Every filter, alone and with another one, in every order, over all pages.
func TestListsHonourEachMember(t *testing.T) {
	s, things := openLists(t)
	for _, list := range []struct {
		operation string
		filters   []ask
		sorts     []ask
	}{
		{"ListModels", filters, sorts},
		{"ListEndpointConfigs", filters, sorts},
		{"ListEndpoints", slices.Concat(filters, endpointFilters), slices.Concat(sorts, endpointSorts)},
	} {
		t.Run(list.operation, func(t *testing.T) {
			s.t = t
			for _, sort := range list.sorts {
				for _, order := range []string{"", "Ascending", "Descending"} {
					for _, chosen := range choices(list.filters) {
						s.checkList(list.operation, things, sort, order, chosen)
					}
				}
			}
		})
	}
}

// choices are no filter, each one, and each two of different members.
func choices(filters []ask) [][]ask {
	all := [][]ask{nil}
	for i, a := range filters {
		all = append(all, []ask{a})
		for _, b := range filters[:i] {
			if a.member != b.member {
				all = append(all, []ask{a, b})
			}
		}
	}
	return all
}

func (s *site) checkList(operation string, things []listed, sort ask, order string, filters []ask) {
	s.t.Helper()
	request := map[string]any{}
	if sort.member != "" {
		request[sort.member] = sort.value
	}
	if order != "" {
		request["SortOrder"] = order
	}
	want := slices.Clone(things)
	for _, f := range filters {
		request[f.member] = f.value
		want = slices.DeleteFunc(want, func(l listed) bool { return !f.keep(l) })
	}
	slices.SortFunc(want, sort.less)
	if order != "Ascending" {
		slices.Reverse(want)
	}
	var names []string
	for _, l := range want {
		names = append(names, l.name)
	}
	for _, max := range []int{0, 4, 100} {
		if diff := gocmp.Diff(names, slices.Concat(s.pages(operation, request, max)...)); diff != "" {
			s.t.Errorf("%s %v in pages of %d (-want +got):\n%s", operation, request, max, diff)
		}
	}
}

// pages lists names page by page. Max is how many are asked for on a page; 0
// for what is usual.
func (s *site) pages(operation string, request map[string]any, max int) (pages [][]string) {
	s.t.Helper()
	most := 10
	if max > 0 {
		request["MaxResults"] = max
		most = max
	}
	defer func() {
		delete(request, "MaxResults")
		delete(request, "NextToken")
	}()
	for {
		var out map[string]json.RawMessage
		var items []map[string]any
		var token string
		s.must(operation, mustMarshal(request)).decode(s.t, &out)
		for name, value := range out {
			to := any(&items)
			if name == "NextToken" {
				to = &token
			}
			if err := json.Unmarshal(value, to); err != nil {
				s.t.Fatal(err)
			}
		}
		var names []string
		for _, item := range items {
			name := cmp.Or(item["ModelName"], item["EndpointConfigName"], item["EndpointName"])
			names = append(names, name.(string))
		}
		pages = append(pages, names)
		if len(items) > most || token != "" && len(items) < most {
			s.t.Errorf("%s %v: a page of %d", operation, request, len(items))
		}
		if token == "" {
			return pages
		}
		request["NextToken"] = token
	}
}

// A page token says nothing to who looks at it, is left out on the last page
// even if that is full, and is good for no other list.
func TestPageTokens(t *testing.T) {
	s, _ := openLists(t)
	if n := len(s.pages("ListModels", map[string]any{}, 5)); n != 5 {
		t.Errorf("25 models in %d pages of 5", n)
	}
	token := func(operation, members string) string {
		var out struct{ NextToken string }
		s.must(operation, `{"MaxResults":3`+members+`}`).decode(t, &out)
		if out.NextToken == "" || strings.Contains(out.NextToken, "thing") {
			t.Fatalf("token %q", out.NextToken)
		}
		return out.NextToken
	}
	models := token("ListModels", "")
	tests := []struct{ name, operation, token, members string }{
		{"made up", "ListModels", "bogus", ""},
		{"not base64", "ListModels", "?", ""},
		{"empty document", "ListModels", "e30", ""},
		{"cut short", "ListModels", models[:len(models)-3], ""},
		{"of models, for configurations", "ListEndpointConfigs", models, ""},
		{"of models, for endpoints", "ListEndpoints", models, ""},
		{"in another order", "ListModels", models, `,"SortOrder":"Ascending"`},
		{"by something else", "ListModels", models, `,"SortBy":"Name"`},
		{"by name, for by creation", "ListEndpoints", token("ListEndpoints", `,"SortBy":"Name"`), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s.call(test.operation, `{"NextToken":"`+test.token+`"`+test.members+`}`).check(t, 400,
				`{"__type":"ValidationException","message":"the page token is not one of this list's"}`)
		})
	}
	t.Run("with all members that go with it", func(t *testing.T) {
		s.must("ListModels", `{"NextToken":"`+models+`","SortBy":"CreationTime","SortOrder":"Descending"}`)
	})
	for _, max := range []int{0, 101} {
		if a := s.call("ListModels", fmt.Sprintf(`{"MaxResults":%d}`, max)); a.status != 400 || !strings.Contains(a.body, "'maxResults'") {
			t.Errorf("MaxResults %d: %d %s", max, a.status, a.body)
		}
	}
}
