package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

var registryTests = map[string]func(*testing.T, *fixture){
	"what is created is read back whole": func(t *testing.T, x *fixture) {
		m := deferd.Model{ID: "m1", Account: account, Name: "Model-1", Created: x.Now(), Image: "i:1", RoleARN: "arn",
			Data: deferd.ModelData{Location: deferd.Location{Bucket: "b", Key: "k"}, Gzip: true}, Env: map[string]string{"A": "b"}, Request: []byte(`{"a":[]}`)}
		must(t, x.CreateModel(t.Context(), m))
		got, err := x.Model(t.Context(), account, "Model-1")
		must(t, err)
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("model differs (-want +got):\n%s", diff)
		}
		gotC, err := x.Config(t.Context(), account, x.config.Name)
		must(t, err)
		if diff := cmp.Diff(x.config, gotC); diff != "" {
			t.Errorf("configuration differs (-want +got):\n%s", diff)
		}
		gotE, err := x.Endpoint(t.Context(), account, "ep")
		must(t, err)
		if diff := cmp.Diff(x.endpoint, gotE); diff != "" {
			t.Errorf("endpoint differs (-want +got):\n%s", diff)
		}
	},
	"names are unique among the living": func(t *testing.T, x *fixture) {
		again := x.endpoint
		again.ID, again.Name = "other", "EP"
		wantCode(t, x.CreateEndpoint(t.Context(), again), deferd.Exists)
		wantCode(t, x.CreateModel(t.Context(), deferd.Model{ID: "x", Account: account, Name: "m-ep", Created: x.Now()}), deferd.Exists)
		must(t, x.DeleteModel(t.Context(), account, "m-ep"))
		wantCode(t, x.DeleteModel(t.Context(), account, "m-ep"), deferd.NotFound)
		must(t, x.CreateModel(t.Context(), deferd.Model{ID: "x", Account: account, Name: "m-ep", Created: x.Now()}))
		if _, err := x.ModelByID(t.Context(), "m-ep"); err != nil {
			t.Errorf("the deleted model cannot be read by ID any more: %v", err)
		}
	},
	"names keep their case": func(t *testing.T, x *fixture) {
		_, err := x.Endpoint(t.Context(), account, "EP")
		wantCode(t, err, deferd.NotFound)
	},
	"references must exist": func(t *testing.T, x *fixture) {
		must(t, x.DeleteConfig(t.Context(), account, x.config.Name))
		e := x.endpoint
		e.ID, e.Name = "e2", "e2"
		wantCode(t, x.CreateEndpoint(t.Context(), e), deferd.NotFound)
		must(t, x.DeleteModel(t.Context(), account, "m-ep"))
		c := x.config
		c.ID, c.Name = "c2", "c2"
		wantCode(t, x.CreateConfig(t.Context(), c), deferd.NotFound)
	},
	"a change is stored, a refused one is not": func(t *testing.T, x *fixture) {
		x.clock.advance(time.Minute)
		got, err := x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error {
			e.Status, e.FailureReason = deferd.EndpointFailed, "why"
			return nil
		})
		must(t, err)
		if got.Modified != x.Now() {
			t.Errorf("modified at %v, want %v", got.Modified, x.Now())
		}
		_, err = x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error {
			e.FailureReason = "other"
			return deferd.Errorf(deferd.Busy, "no")
		})
		wantCode(t, err, deferd.Busy)
		stored, err := x.EndpointByID(t.Context(), x.endpoint.ID)
		must(t, err)
		if diff := cmp.Diff(got, stored); diff != "" {
			t.Errorf("stored endpoint differs (-want +got):\n%s", diff)
		}
	},
	"an endpoint is read as it was last changed": func(t *testing.T, x *fixture) {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = x.Endpoint(t.Context(), account, "ep")
					}
				}
			})
		}
		for i := range 200 {
			reason := fmt.Sprint("change ", i)
			_, err := x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error { e.FailureReason = reason; return nil })
			must(t, err)
			e, err := x.Endpoint(t.Context(), account, "ep")
			must(t, err)
			if e.FailureReason != reason {
				t.Fatalf("after the change it says %q, want %q", e.FailureReason, reason)
			}
		}
		close(stop)
		wg.Wait()
		_, err := x.ChangeTags(t.Context(), deferd.Tagged{Account: account, Kind: deferd.KindEndpoint, Name: "EP"},
			func([]deferd.Tag) ([]deferd.Tag, error) { return []deferd.Tag{{Key: "k"}}, nil })
		must(t, err)
		if e, err := x.Endpoint(t.Context(), account, "ep"); err != nil || len(e.Tags) != 1 {
			t.Errorf("after its tags were changed it has %v (%v)", e.Tags, err)
		}
	},
	"what an endpoint becomes decides what it accepts": func(t *testing.T, x *fixture) {
		x.accept(t, 1)
		become := func(s deferd.EndpointStatus) {
			_, err := x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error { e.Status = s; return nil })
			must(t, err)
		}
		n := deferd.NewInvocation{ID: "01900000-0000-7000-8000-00000000ffff", Account: account, Endpoint: x.endpoint.ID, Config: x.config.ID, TTL: time.Hour, Inline: []byte("x")}
		for _, s := range []deferd.EndpointStatus{deferd.EndpointFailed, deferd.EndpointDeleting} {
			become(s)
			_, _, err := x.Accept(t.Context(), n)
			wantCode(t, err, deferd.NotFound)
		}
		become(deferd.EndpointUpdating)
		if _, _, err := x.Accept(t.Context(), n); err != nil {
			t.Errorf("while it is updated: %v", err)
		}
	},
	"a removed endpoint frees its name and keeps its invocations": func(t *testing.T, x *fixture) {
		inv := x.accept(t, 1)[0]
		_, err := x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error { e.Status = deferd.EndpointDeleting; return nil })
		must(t, err)
		wantCode(t, x.RemoveEndpoint(t.Context(), x.endpoint.ID), deferd.Busy)
		_, err = x.Sweep(t.Context(), 10)
		must(t, err)
		must(t, x.RemoveEndpoint(t.Context(), x.endpoint.ID))
		must(t, x.RemoveEndpoint(t.Context(), x.endpoint.ID))
		_, err = x.Endpoint(t.Context(), account, "ep")
		wantCode(t, err, deferd.NotFound)
		x.wantState(t, inv.ID, deferd.Publishing, deferd.EndpointDeleted)
		e := x.endpoint
		e.ID = "again"
		must(t, x.CreateEndpoint(t.Context(), e))
		live, err := x.LiveEndpoints(t.Context())
		must(t, err)
		if diff := cmp.Diff([]deferd.EndpointID{"again"}, live); diff != "" {
			t.Errorf("live endpoints differ (-want +got):\n%s", diff)
		}
	},
	"equals are listed by name": func(t *testing.T, x *fixture) {
		for _, name := range []string{"b", "d", "a", "c"} {
			x.addEndpoint(t, name)
		}
		for _, c := range []struct {
			order     deferd.ListOrder
			ascending bool
			want      string
		}{
			{deferd.ByStatus, true, "abcdep"}, {deferd.ByStatus, false, "epdcba"},
			{deferd.ByCreation, true, "abcdep"}, {deferd.ByCreation, false, "epdcba"},
		} {
			got, token := "", ""
			for more := true; more; more = token != "" {
				p, err := x.Endpoints(t.Context(), deferd.ListQuery{Account: account, SortBy: c.order, Ascending: c.ascending, Max: 2, Token: token})
				must(t, err)
				for _, e := range p.Items {
					got += string(e.Name)
				}
				token = p.Token
			}
			if got != c.want {
				t.Errorf("order %d, ascending %v: %s, want %s", c.order, c.ascending, got, c.want)
			}
		}
	},
	"an endpoint that serves is not removed": func(t *testing.T, x *fixture) {
		wantCode(t, x.RemoveEndpoint(t.Context(), x.endpoint.ID), deferd.Busy)
		_, err := x.Endpoint(t.Context(), account, x.endpoint.Name)
		must(t, err)
	},
	"lists are filtered, sorted and paged": func(t *testing.T, x *fixture) {
		for i := range 5 {
			x.clock.advance(time.Second)
			must(t, x.CreateModel(t.Context(), deferd.Model{ID: deferd.ModelID(fmt.Sprint("id", i)), Account: account, Name: deferd.ModelName(fmt.Sprint("List-", 4-i)), Created: x.Now()}))
		}
		walk := func(q deferd.ListQuery) (names []string) {
			q.Account = account
			for {
				p, err := x.Models(t.Context(), q)
				must(t, err)
				if len(p.Items) > q.Max {
					t.Fatalf("a page has %d items, want at most %d", len(p.Items), q.Max)
				}
				for _, m := range p.Items {
					names = append(names, string(m.Name))
				}
				if p.Token == "" {
					return names
				}
				q.Token = p.Token
			}
		}
		for _, c := range []struct {
			name string
			q    deferd.ListQuery
			want []string
		}{
			{"newest first", deferd.ListQuery{Max: 2, NameContains: "list"}, []string{"List-0", "List-1", "List-2", "List-3", "List-4"}},
			{"oldest first", deferd.ListQuery{Max: 2, NameContains: "list", Ascending: true}, []string{"List-4", "List-3", "List-2", "List-1", "List-0"}},
			{"by name descending", deferd.ListQuery{Max: 3, SortBy: deferd.ByName}, []string{"m-ep", "List-4", "List-3", "List-2", "List-1", "List-0"}},
			{"created before", deferd.ListQuery{Max: 9, CreatedBefore: x.Now().Add(-3 * time.Second)}, []string{"List-4", "m-ep"}},
			{"created after", deferd.ListQuery{Max: 9, CreatedAfter: x.Now().Add(-time.Second)}, []string{"List-0"}},
		} {
			if diff := cmp.Diff(c.want, walk(c.q)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
		_, err := x.Models(t.Context(), deferd.ListQuery{Account: account, Max: 1, Token: "rubbish"})
		wantCode(t, err, deferd.Invalid)
	},
	"a deployment is stored and its configuration kept": func(t *testing.T, x *fixture) {
		next := x.config
		next.ID, next.Name = "next", "next"
		must(t, x.CreateConfig(t.Context(), next))
		got, err := x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error {
			e.Deploy(deferd.Deployment{ConfigID: next.ID, Variants: e.Variants, Started: x.Now(), Limit: time.Hour}, true)
			return nil
		})
		must(t, err)
		if got.Status != deferd.EndpointUpdating || got.ConfigID != x.config.ID || got.Deployment.Fleet != 1 {
			t.Errorf("the endpoint is %+v, want one that is Updating to fleet 1", got)
		}
		must(t, x.DeleteConfig(t.Context(), account, "next"))
		_, err = x.Prune(t.Context(), x.Now(), 100)
		must(t, err)
		if _, err := x.ConfigByID(t.Context(), next.ID); err != nil {
			t.Errorf("the configuration that is being deployed has been pruned: %v", err)
		}
		x.accept(t, 1)
		_, err = x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error { e.Deployed(); return nil })
		must(t, err)
		stored, err := x.EndpointByID(t.Context(), x.endpoint.ID)
		must(t, err)
		if stored.ConfigID != next.ID || stored.Fleet != 1 || stored.Deployment != nil || stored.Status != deferd.EndpointInService {
			t.Errorf("deployed, the endpoint is %+v", stored)
		}
	},
	"a deployment to what is not there is refused": func(t *testing.T, x *fixture) {
		_, err := x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error {
			e.Deploy(deferd.Deployment{ConfigID: "none"}, true)
			return nil
		})
		wantCode(t, err, deferd.NotFound)
		e, err := x.EndpointByID(t.Context(), x.endpoint.ID)
		must(t, err)
		if diff := cmp.Diff(x.endpoint, e); diff != "" {
			t.Errorf("the endpoint has changed (-want +got):\n%s", diff)
		}
	},
	"tags are changed, whatever the case of the name": func(t *testing.T, x *fixture) {
		must(t, x.CreateModel(t.Context(), deferd.Model{ID: "tagged", Account: account, Name: "Tagged", Created: x.Now(), Tags: []deferd.Tag{{Key: "a", Value: "1"}}}))
		for _, of := range []deferd.Tagged{
			{Account: account, Kind: deferd.KindModel, Name: "tagged"},
			{Account: account, Kind: deferd.KindConfig, Name: strings.ToUpper(string(x.config.Name))},
			{Account: account, Kind: deferd.KindEndpoint, Name: "EP"},
		} {
			before, err := x.Tags(t.Context(), of)
			must(t, err)
			want := append(slices.Clone(before), deferd.Tag{Key: "k", Value: "ä"})
			got, err := x.ChangeTags(t.Context(), of, func(tags []deferd.Tag) ([]deferd.Tag, error) {
				return append(tags, deferd.Tag{Key: "k", Value: "ä"}), nil
			})
			must(t, err)
			stored, err := x.Tags(t.Context(), of)
			must(t, err)
			if !slices.Equal(got, want) || !slices.Equal(stored, want) {
				t.Errorf("%v: changed to %v, stored %v, want %v", of, got, stored, want)
			}
			_, err = x.ChangeTags(t.Context(), of, func([]deferd.Tag) ([]deferd.Tag, error) { return nil, deferd.Errorf(deferd.Invalid, "no") })
			wantCode(t, err, deferd.Invalid)
			if stored, err = x.Tags(t.Context(), of); err != nil || !slices.Equal(stored, want) {
				t.Errorf("%v: after a refused change %v (%v), want %v", of, stored, err, want)
			}
			of.Name = "nobody"
			_, err = x.Tags(t.Context(), of)
			wantCode(t, err, deferd.NotFound)
			_, err = x.ChangeTags(t.Context(), of, func(tags []deferd.Tag) ([]deferd.Tag, error) { return tags, nil })
			wantCode(t, err, deferd.NotFound)
		}
		m, err := x.ModelByID(t.Context(), "tagged")
		must(t, err)
		if len(m.Tags) != 2 {
			t.Errorf("the model says %v", m.Tags)
		}
		e, err := x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error { e.FailureReason = "x"; return nil })
		must(t, err)
		if len(e.Tags) != 1 {
			t.Errorf("after another change the endpoint has the tags %v", e.Tags)
		}
	},
	"access keys": func(t *testing.T, x *fixture) {
		k := deferd.AccessKey{ID: "AKIA1", Account: account, ARN: "arn", Sealed: []byte{1, 2}, Token: "t", Service: "s3", Created: x.Now(), Expires: x.Now().Add(time.Hour)}
		must(t, x.PutKey(t.Context(), k))
		got, err := x.Key(t.Context(), "AKIA1")
		must(t, err)
		if diff := cmp.Diff(k, got); diff != "" {
			t.Errorf("key differs (-want +got):\n%s", diff)
		}
		must(t, x.PutKey(t.Context(), deferd.AccessKey{ID: "AKIA0", Account: account, Created: x.Now(), Sealed: []byte{3}}))
		all, err := x.AccessKeys(t.Context(), account)
		must(t, err)
		if len(all) != 2 || all[0].ID != "AKIA0" || all[1].ID != "AKIA1" {
			t.Errorf("access keys are %v, want AKIA0 and AKIA1", all)
		}
		must(t, x.DeleteKey(t.Context(), "AKIA1"))
		must(t, x.DeleteKey(t.Context(), "AKIA1"))
		_, err = x.Key(t.Context(), "AKIA1")
		wantCode(t, err, deferd.NotFound)
	},
}
