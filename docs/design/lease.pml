/*
 * One invocation, two agents, a server, and a network that loses answers,
 * repeats calls and delivers them late. Anybody may crash, and anybody may be
 * taken for dead while it lives. See agents.md; `make model` checks it all.
 *
 * With -DUNFENCED a settle is taken from whoever comes first, current or not.
 * With -DCOUNTED leases are counted, and a crash that forgets a claim sets the
 * counter back. Both are wrong, and the check must find that.
 */

#define AGENTS   2
#define LEASES   7   /* more than can be drawn with what goes wrong below */
#define ATTEMPTS 3
#define SERVER   100 /* an outcome that no lease has decided */

mtype = { queued, running, publishing, ended };

/* What the store has. All but a claim is durable when it is answered. */
mtype state = queued;
byte lease;              /* the current one; 0: none */
byte owner;              /* the agent that it was handed to */
bool arrived;            /* the agent may have it: its claim is confirmed */
byte decidedBy;          /* the lease that settled; 0: none did */
byte outcome;
byte attempts;
byte drawn;              /* lease IDs so far: at random, so none comes twice */

/* What a client can see. */
byte object;             /* the outcome that is visible; 0: none */
byte decisions;

/* What agents believe. */
byte holds[AGENTS];      /* a lease; 0: none */
bool finished[AGENTS];   /* there is a verdict to be delivered */
bool givesBack[AGENTS];  /* and it is a release */

/* What is on its way to the server. */
bool settling[LEASES], releasing[LEASES];

/* How much goes wrong in all. */
#ifndef TIMES
#define TIMES 1
#endif
byte crashes = TIMES, takeovers = TIMES, losses = TIMES, repeats = TIMES, releases = 1, cancels = 1;

inline decide(who, what) {
	decisions++;
	assert(decisions == 1);
	decidedBy = who; outcome = what; state = publishing; lease = 0
}

/* The lease ends without an outcome. */
inline giveBack(counts) {
	lease = 0;
	if
	:: counts -> attempts++
	:: else
	fi;
	if
	:: attempts == ATTEMPTS -> decide(0, SERVER)
	:: else -> state = queued
	fi
}

inline heard(l) {
	if
	:: holds[0] == l -> holds[0] = 0; finished[0] = false; givesBack[0] = false
	:: holds[1] == l -> holds[1] = 0; finished[1] = false; givesBack[1] = false
	:: else
	fi
}

/* An answer arrives, or is lost. */
inline answer(l) {
	if
	:: heard(l)
	:: losses > 0 -> losses--
	fi
}

/* The call is delivered; a network that repeats it keeps a copy. */
inline take(flight) {
	if
	:: flight = false
	:: repeats > 0 -> repeats--
	fi
}

proctype Agent(byte me) {
	do
	/* Claim. What was handed out and did not arrive comes again. */
	:: d_step { holds[me] == 0 && state == queued ->
		drawn++; assert(drawn < LEASES);
		lease = drawn; state = running; owner = me; arrived = false }
	:: d_step { holds[me] == 0 && state == running && owner == me && !arrived ->
		arrived = true; holds[me] = lease;
		assert(holds[0] != holds[1]) }
	/* The model is done, or the attempt is given back. */
	:: d_step { holds[me] != 0 && !finished[me] -> finished[me] = true }
	:: d_step { holds[me] != 0 && !finished[me] && releases > 0 ->
		releases--; finished[me] = true; givesBack[me] = true }
	/* The verdict is delivered until it is answered. */
	:: d_step { finished[me] && !givesBack[me] && !settling[holds[me]] -> settling[holds[me]] = true }
	:: d_step { finished[me] && givesBack[me] && !releasing[holds[me]] -> releasing[holds[me]] = true }
	/* Extend: the server does not know the lease any more. */
	:: d_step { holds[me] != 0 && !finished[me] && holds[me] != lease -> holds[me] = 0 }
	:: state == ended && holds[me] == 0 -> break
	od
}

/* A settle is taken by the current lease only; what comes again from the one
   that settled is answered alike, and anything else is refused. */
inline settle(l) {
	take(settling[l]);
	if
#ifdef UNFENCED
	:: true -> decide(l, l)
#else
	:: state == running && lease == l -> decide(l, l)
	:: else -> assert(decidedBy != l || outcome == l)
#endif
	fi;
	answer(l)
}

inline release(l) {
	take(releasing[l]);
	if
	:: state == running && lease == l ->
		assert(holds[1 - owner] != l); /* it is not somebody else's */
		giveBack(false)
	:: else
	fi;
	answer(l)
}

#define DELIVER(l) \
	:: atomic { settling[l] -> settle(l) } \
	:: atomic { releasing[l] -> release(l) }

/* The server takes what is on its way, in any order. */
proctype Server() {
	do
	DELIVER(1) DELIVER(2) DELIVER(3) DELIVER(4) DELIVER(5) DELIVER(6)
	:: state == ended && holds[0] == 0 && holds[1] == 0 -> break
	od
}

/* An agent that has the lease no more, since it crashed: its next session voids
   the one before, with what that held. */
proctype Sessions() {
	do
	:: atomic { state == running && arrived && holds[owner] != lease -> giveBack(true) }
	:: state == ended -> break
	od
}

/* Publishing is done at least once before it is finished. */
proctype Publisher() {
	do
	:: d_step { state == publishing && object != outcome ->
		assert(object == 0 || object == outcome);
		object = outcome }
	:: d_step { state == publishing && object == outcome -> state = ended }
	:: state == ended -> break
	od
}

/* What goes wrong. */
proctype Trouble() {
	do
	/* The server crashes. Claims are not synced: leases are void. */
	:: atomic { crashes > 0 ->
		crashes--;
		if
		:: state == running ->
#ifdef COUNTED
			drawn--;
#endif
			giveBack(false)
		:: else
		fi }
	/* An agent crashes, or its container dies with it. */
	:: d_step { crashes > 0 && holds[0] != 0 -> crashes--; holds[0] = 0; finished[0] = false; givesBack[0] = false }
	:: d_step { crashes > 0 && holds[1] != 0 -> crashes--; holds[1] = 0; finished[1] = false; givesBack[1] = false }
	/* An agent is taken for dead, and lives on: a zombie. */
	:: atomic { takeovers > 0 && state == running -> takeovers--; giveBack(true) }
	/* A call that was made long ago is delivered again. */
	:: d_step { repeats > 0 && drawn > 0 -> repeats--; settling[drawn] = settling[drawn] || decidedBy == drawn }
	/* The caller cancels. */
	:: atomic { cancels > 0 && (state == queued || state == running) -> cancels--; decide(0, SERVER) }
	:: break
	od
}

init {
	atomic {
		run Agent(0); run Agent(1); run Server(); run Sessions(); run Publisher(); run Trouble()
	}
}

/* Nothing that was accepted is lost. */
ltl ends { <> (state == ended && object == outcome) }

/* No result changes. */
ltl stays { [] (object != 0 -> object == outcome) && [] (state == ended -> [] (state == ended)) }
