package torture

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
)

// usualMemory is how much memory a server may take, whatever waits and whatever
// the size of what it carries. An idle one has 50 MiB. What the models answer
// passes through pieces of 8 MiB, one for each of the 13 slots of Deployments:
// that makes 160 MiB, and the garbage collector wants some room. A run of 60
// rounds would exceed it if the backlog were kept in memory, with its 240 MB, or
// a large answer as a whole.
const usualMemory = 256 << 20

// peakMemory is the most memory that a process ever had, in bytes; 0 where that
// cannot be read.
func peakMemory(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, _ := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// weigh notes how much memory the server has had in its present life.
func (r *run) weigh() {
	c := r.world.current()
	if c == nil {
		return
	}
	peak := peakMemory(c.cmd.Process.Pid)
	r.edit(func() { r.weighed(peak) })
}

// weighed judges the most memory that the server has had. What is broken is
// said once. The caller holds mu.
func (r *run) weighed(peak int64) {
	most := r.config.MaxMemory
	if peak > most && r.counts.peak <= most {
		r.record(Broken{Promise: 8, What: fmt.Sprintf("the server has had %d MiB in memory, with %d requests in its backlog; it may have %d", peak>>20, r.piled.least, most>>20)})
	}
	r.counts.peak = max(r.counts.peak, peak)
}

// pile is an endpoint without instances: what it is sent waits for ever, and is
// to cost no memory.
var pile = Deployment{Name: "pile", Slots: 1, Instances: 1, NoFailure: true}

// emptyPile takes the instance away with which an endpoint has to begin.
func (r *run) emptyPile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	if err := r.rescale(ctx, pile, 0); err != nil {
		return err
	}
	return r.insist(ctx, func() error {
		var e struct {
			ProductionVariants []struct{ CurrentInstanceCount int }
		}
		err := r.out.control(ctx, "DescribeEndpoint", fields{"EndpointName": pile.Name}, &e)
		if err == nil && (len(e.ProductionVariants) != 1 || e.ProductionVariants[0].CurrentInstanceCount > 0) {
			return fmt.Errorf("it has %+v", e.ProductionVariants)
		}
		return err
	})
}

const (
	pileRound = 40   // requests that are added to the pile in a round
	pileMost  = 4000 // after which there are no more, for the sake of the disk
	pileSize  = 100_000
)

// addToPile sends requests to the endpoint without instances, each once.
func (r *run) addToPile(ctx context.Context, round Round) {
	if r.config.Options.FillDisk {
		return // the file system is too small for it
	}
	body := inputBody("pile", pileSize)
	var wg sync.WaitGroup
	for client := range 2 {
		wg.Go(func() {
			for i := client; i < pileRound; i += 2 {
				r.addOne(ctx, fmt.Sprintf("pile-%d-%d", round.Number, i), body)
			}
		})
	}
	wg.Wait()
}

func (r *run) addOne(ctx context.Context, id string, body []byte) {
	enough := false
	r.edit(func() {
		if enough = r.piled.most >= pileMost; !enough {
			r.piled.most++
		}
	})
	if enough {
		return
	}
	_, err := r.out.invoke(ctx, Request{ID: id, Endpoint: pile.Name, Input: Inline}, body)
	if err == nil {
		r.edit(func() { r.piled.least++ })
	}
}
