/* The race between notification, deadline and cancellation, as in include/sennit/wait/waiter.hpp, wait_queue.hpp and
 * src/wait/agent.cpp; a1..a8, n1..n5, c1..c6 are the steps named there. One atomic operation, or one turn with the queue's
 * lock, is one step. Memory is sequentially consistent here: what weaker orders do, the preset `model` tests on the code.
 *
 * Agents: waiter 0, an OS thread; waiter 1, a coroutine on its loop; a notifier; one that cancels either of them, once or twice;
 * one that inspects either. Every wait may have a deadline or not, may be interruptible or not, and a frame may be used for two waits.
 *
 * Shown for every interleaving:
 *   1. each notification is used by one waiter, or is left when nobody waits (none lost, none doubled)
 *   2. no waiter sleeps though a permit is there, or though it was cancelled
 *   3. one request to cancel ends one wait at most, and at least the next one
 *   4. nobody touches a wait after its frame is gone, nor an agent that has ended
 *   5. an agent is unparked once for each wait that somebody else has settled, and not otherwise
 *   6. no lock is left held, no claim stands, nothing is left in the queue
 *
 * spin: pan -E -m100000
 * spin: run 1
 * spin: run 1 -DROUNDS_0=1 -DNOTIFICATIONS=0 -DINSPECTOR
 * spin: run 2 -DROUNDS_0=1 -DNOTIFICATIONS=1 -DINSPECTOR
 * spin: run 2 -DCANCELS=2 -DSPURIOUS
 * spin: run 2 -DROUNDS_1=2
 * spin: run 2 -DINSPECTOR -DNOTIFICATIONS=1
 * spin: run 3 -DINSPECTOR
 *
 * Each mutant must break one of these:
 * spin: mutant NO_RECHECK           the queue's lock is taken, but nobody looks again (a3)
 * spin: mutant DROP_WITH_WAITER     a notification that meets a timed-out waiter is dropped (n3)
 * spin: mutant GO_BEFORE_UNPARK     a waiter whose deadline lost against a notifier goes on at once (a6)
 * spin: mutant NO_CLAIM             the canceller reads the wait without a claim (c3)
 * spin: mutant END_IN_SPITE_OF_CLAIM  the agent leaves the wait without regard to a claim (a7)
 * spin: mutant LOOK_BEFORE_REQUEST  the canceller looks for the wait before it asks (c1, c2)
 * spin: mutant NO_LOOK_AT_REQUEST   the agent does not look whether it was cancelled (a5)
 * spin: mutant CANCEL_UNASKED       the canceller does not look whether its request is still there (c4)
 * spin: mutant SETTLE_BY_STORE      settling is a load and a store instead of a compare-exchange
 * spin: mutant STAY_IN_QUEUE        a waiter that ended by itself does not leave the queue (a8)
 * spin: mutant SLEEP_WITHOUT_LOOK   the agent sleeps without looking for an unpark that came before (a6)
 * spin: mutant UNPARK_TWICE         a notifier unparks also when it lost (n5)
 */

#define WAITERS 2
#ifndef ROUNDS_0
#define ROUNDS_0 2      /* waits of waiter 0 */
#endif
#ifndef ROUNDS_1
#define ROUNDS_1 1
#endif
#ifndef NOTIFICATIONS
#define NOTIFICATIONS 2
#endif
#ifndef CANCELS
#define CANCELS 1
#endif

#define THREAD 0        /* the index of a waiter is its kind, too */
#define COROUTINE 1

/* Waiter::state_ */
#define WAITING 0
#define WOKEN 1
#define TIMED_OUT 2
#define CANCELLED 3

/* Agent::current_ */
#define NOBODY 0
#define IN_WAIT 1
#define CLAIMED 2

/* ThreadAgent::word_ */
#define IDLE 0
#define TOKEN 1
#define SLEEPING 2

byte state[WAITERS];
byte frame[WAITERS];            /* odd: a frame lives; it counts on */
bool linked[WAITERS];
bool interruptible[WAITERS];
byte current[WAITERS];
bool requested[WAITERS];        /* Agent::cancel_requested_ */
byte word[WAITERS];
bool asleep[WAITERS];           /* in the futex */
bool inbox[WAITERS];            /* of the coroutine's loop */
bool ended[WAITERS];
bool parked_for_ever[WAITERS];  /* in a wait without a deadline */

bool locked;                    /* the queue's mutex, the queue, and what it guards */
byte queue[WAITERS];
byte length;
byte permits;

byte taken;                     /* permits that came to a waiter */
byte cancels_asked[WAITERS];
byte cancels_seen[WAITERS];
byte unparks_owed[WAITERS];     /* settled by another, not yet unparked */

inline push(w) { queue[length] = w; length++; linked[w] = true }

inline remove(w) {
    if
    :: linked[w] && length == 2 && queue[0] == w -> queue[0] = queue[1]; queue[1] = 0; length--
    :: linked[w] && !(length == 2 && queue[0] == w) -> length--; queue[length] = 0
    :: else
    fi;
    linked[w] = false
}

/* Waiter::settle: `won` tells who did. */
#ifdef SETTLE_BY_STORE
inline settle(w, how, won) {
    won = (state[w] == WAITING);
    if
    :: won -> state[w] = how
    :: else
    fi
}
#else
inline settle(w, how, won) {
    d_step {
        won = (state[w] == WAITING);
        if
        :: won -> state[w] = how
        :: else
        fi
    }
}
#endif

inline unpark(w) {
    d_step {
        assert(!ended[w]);
        assert(unparks_owed[w] == 1);
        unparks_owed[w] = 0;
        if
        :: w == THREAD -> assert(word[w] != TOKEN); before = word[w]; word[w] = TOKEN
        :: else -> assert(!inbox[w]); before = IDLE; inbox[w] = true
        fi
    };
    if
    :: before == SLEEPING -> asleep[w] = false /* futex_wake: the address alone */
    :: else
    fi;
    before = 0
}

proctype Waiter(byte w; byte rounds) {
    bool won, deadline, timed_out;

    do
    :: rounds == 0 -> break
    :: atomic {
        !locked && rounds > 0 -> /* a1, a2, a3: one turn with the queue's lock */
        rounds--;
        if
        :: frame[w] % 2 == 0 -> frame[w]++
        :: frame[w] % 2 == 1 -> skip /* the frame of the former wait serves again */
        fi;
        if
        :: deadline = true; interruptible[w] = true
        :: deadline = false; interruptible[w] = true
        :: deadline = false; interruptible[w] = false
        fi;
        if
#ifndef NO_RECHECK
        :: permits > 0 -> permits--; taken++; goto leave
        :: permits == 0 ->
#else
        :: true ->
#endif
            state[w] = WAITING; push(w)
        fi
       };

        current[w] = IN_WAIT; /* a4 */
#ifndef NO_LOOK_AT_REQUEST
        if
        :: requested[w] && interruptible[w] -> settle(w, CANCELLED, won) /* a5 */
        :: else
        fi;
#endif
        if
        :: atomic { won -> won = false; goto a7 }
        :: atomic { !won -> parked_for_ever[w] = !deadline }
        fi;

        /* a6: park */
        if
        :: w == THREAD ->
#ifdef SLEEP_WITHOUT_LOOK
            word[w] = SLEEPING;
#else
            if
            :: atomic { word[w] == IDLE -> word[w] = SLEEPING }
            :: atomic { word[w] == TOKEN -> word[w] = IDLE; goto unparked }
            fi;
#endif
            do
            :: atomic { word[w] == SLEEPING -> asleep[w] = true };
                if
                :: !asleep[w]
                :: atomic { deadline && asleep[w] -> asleep[w] = false; timed_out = true }
#ifdef SPURIOUS
                :: atomic { asleep[w] -> asleep[w] = false } /* without a cause */
#endif
                fi;
                if
                :: timed_out ->
                    settle(w, TIMED_OUT, won);
                    if
                    :: atomic { won -> won = false; word[w] = IDLE; goto unparked }
                    :: atomic { !won -> deadline = false; timed_out = false; parked_for_ever[w] = true }
                    fi;
#ifdef GO_BEFORE_UNPARK
                    atomic { word[w] = IDLE; goto unparked }
#endif
                :: !timed_out
                fi
            :: atomic { word[w] == TOKEN -> word[w] = IDLE; break }
            od
        :: w == COROUTINE -> /* the loop: its inbox, or the timer */
            do
            :: atomic { inbox[w] -> inbox[w] = false; break }
            :: deadline ->
                settle(w, TIMED_OUT, won);
                if
                :: atomic { won -> won = false; break }
                :: atomic { !won -> deadline = false; parked_for_ever[w] = true }
                fi;
#ifdef GO_BEFORE_UNPARK
                break
#endif
            od
        fi;
unparked:
        atomic { parked_for_ever[w] = false; timed_out = false; deadline = false };
a7:
#ifdef END_IN_SPITE_OF_CLAIM
        current[w] = NOBODY;
#else
        atomic { current[w] == IN_WAIT -> current[w] = NOBODY };
#endif
        if /* a8 */
        :: atomic { state[w] == WOKEN -> taken++ }
        :: atomic {
            state[w] != WOKEN && !locked -> /* one turn with the queue's lock */
#ifndef STAY_IN_QUEUE
            remove(w);
#endif
            if
            :: state[w] == CANCELLED -> assert(requested[w]); requested[w] = false; cancels_seen[w]++
            :: else
            fi
           }
        fi;
leave:
        atomic {
            deadline = false;
            state[w] = WAITING;     /* nobody looks at it now: fewer states to tell apart */
            interruptible[w] = false;
            if
            :: frame[w]++           /* the frame goes */
            :: skip                 /* another wait in the same frame */
            fi
        }
    od;
    atomic {
        frame[w] = frame[w] + frame[w] % 2;
        ended[w] = true
    }
}

proctype Notifier() {
    byte left = NOTIFICATIONS;
    byte w, before, its_frame;
    bool won;

    do
    :: left == 0 -> break
    :: atomic { left > 0 && !locked -> left--; locked = true }; /* n1 */
        do
        :: atomic { length == 0 -> permits++; locked = false; break }
        :: atomic { length > 0 -> w = queue[0]; its_frame = frame[w]; assert(its_frame % 2 == 1); remove(w) }; /* n2 */
            settle(w, WOKEN, won); /* n3 */
            if
            :: atomic { won -> won = false; unparks_owed[w]++; locked = false }; /* n4 */
                assert(frame[w] == its_frame);
                unpark(w); /* n5 */
                break
            :: atomic { !won -> assert(frame[w] == its_frame) };
#ifdef UNPARK_TWICE
                locked = false; unpark(w); break
#endif
#ifdef DROP_WITH_WAITER
                locked = false; break
#endif
            fi
        od;
        atomic { w = 0; its_frame = 0 }
    od
}

/* Agent::claim_current; `seen` tells whether there was a wait. */
inline claim(w, seen) {
    if
    :: current[w] == NOBODY -> seen = false
#ifdef NO_CLAIM
    :: current[w] != NOBODY -> seen = true
#else
    :: atomic { current[w] == IN_WAIT -> current[w] = CLAIMED; seen = true } /* while another claims, this waits */
#endif
    fi
}
inline unclaim(w) {
#ifdef NO_CLAIM
    skip
#else
    current[w] = IN_WAIT
#endif
}

proctype Canceller() {
    byte left = CANCELS;
    byte w, before, its_frame;
    bool seen, won;

    do
    :: left == 0 -> break
    :: atomic {
        left > 0 -> left--;
        if
        :: w = 0
        :: w = 1
        fi;
        if
        :: ended[w] -> goto next
        :: else
        fi
       };
#ifdef LOOK_BEFORE_REQUEST
        claim(w, seen);
        atomic { requested[w] = true; cancels_asked[w]++ };
#else
        atomic { requested[w] = true; cancels_asked[w]++ }; /* c1 */
        claim(w, seen); /* c2, c3 */
#endif
        if
        :: atomic { seen -> its_frame = frame[w]; assert(its_frame % 2 == 1) };
            if
#ifdef CANCEL_UNASKED
            :: interruptible[w] ->
#else
            :: interruptible[w] && requested[w] ->
#endif
                settle(w, CANCELLED, won); /* c4 */
                if
                :: atomic { won -> unparks_owed[w]++ }
                :: !won
                fi
            :: else
            fi;
            assert(frame[w] == its_frame);
            unclaim(w); /* c5 */
            if
            :: won -> assert(frame[w] == its_frame); unpark(w) /* c6 */
            :: !won
            fi
        :: !seen
        fi;
next:
        atomic { seen = false; won = false; its_frame = 0; w = 0 }
    od
}

#ifdef INSPECTOR
proctype Inspector() {
    byte w, its_frame;
    bool seen;

    atomic {
        if
        :: w = 0
        :: w = 1
        fi;
        if
        :: ended[w] -> goto done
        :: else
        fi
    };
    claim(w, seen);
    if
    :: atomic { seen -> its_frame = frame[w]; assert(its_frame % 2 == 1) };
        assert(frame[w] == its_frame); /* still, after others had a turn */
        unclaim(w)
    :: !seen
    fi;
done:
    skip
}
#endif

/* When nothing moves any more: everybody has ended, or sleeps with good reason. */
#define SLEEPS_RIGHTLY(w) (parked_for_ever[w] && state[w] == WAITING && linked[w] && permits == 0 && \
                           !(requested[w] && interruptible[w]))

active proctype Judge() {
    atomic {
        run Waiter(THREAD, ROUNDS_0);
        run Waiter(COROUTINE, ROUNDS_1);
        run Notifier();
        run Canceller();
#ifdef INSPECTOR
        run Inspector();
#endif
    };
    timeout;
    d_step {
        assert(!locked);
        assert(ended[0] || SLEEPS_RIGHTLY(0));
        assert(ended[1] || SLEEPS_RIGHTLY(1));
        assert(!ended[0] || (!linked[0] && current[0] == NOBODY && word[0] == IDLE));
        assert(!ended[1] || (!linked[1] && current[1] == NOBODY && !inbox[1]));
        assert(unparks_owed[0] == 0 && unparks_owed[1] == 0);
        assert(taken + permits == NOTIFICATIONS);
        assert(cancels_seen[0] <= cancels_asked[0] && cancels_seen[1] <= cancels_asked[1]);
        assert(cancels_asked[0] == 0 || cancels_seen[0] > 0 || requested[0]);
        assert(cancels_asked[1] == 0 || cancels_seen[1] > 0 || requested[1])
    }
}
