/* The race between notification, deadline and cancellation, as in include/sennit/wait/waiter.hpp, wait_queue.hpp and
 * src/wait/agent.cpp; a1..a8, n1..n5, c1..c6 are the steps named there. One atomic operation, or one turn with the queue's
 * lock, is one step. Memory is sequentially consistent here: what weaker orders do, the preset `model` tests on the code.
 *
 * Agents: waiter 0, an OS thread; waiter 1, a coroutine on its loop; a notifier; one that cancels either of them, once or twice;
 * one that inspects either. Every wait may have a deadline or not, and may be interruptible or not.
 *
 * Shown for every interleaving:
 *   1. each notification is used by one waiter, or is left when nobody waits (none lost, none doubled)
 *   2. no waiter sleeps though a permit is there, or though it was cancelled
 *   3. one request to cancel ends one wait at most, and at least the next one
 *   4. nobody holds a wait when it ends, so nobody touches its frame after that; nor an agent that has ended
 *   5. an agent is unparked once for each wait that somebody else has settled, and not otherwise
 *   6. no lock is left held, no claim stands, nothing is left in the queue
 *
 * What is merged into one step (and why no interleaving is lost): a test of one's own variables with what follows it; settling
 * with what the agent does to its own variables after it; the end of a sleep at the deadline with settling, as nobody else
 * reads `asleep`. Every search is of all states. Tier 1 has the four agents whole: 1.1 million states. Tier 2 has two waits of
 * either waiter, two cancellations with needless wake-ups, and five agents: 20 million in all, a minute or two, < 0.6 GB.
 * Tier 3: 36 million more.
 *
 * spin: pan -E -m100000
 * spin: run 1
 * spin: run 1 -DROUNDS_0=1 -DNOTIFICATIONS=0 -DINSPECTOR
 * spin: run 2 -DROUNDS_0=1 -DNOTIFICATIONS=1 -DINSPECTOR
 * spin: run 2 -DCANCELS=2 -DSPURIOUS
 * spin: run 2 -DROUNDS_1=2
 * spin: run 2 -DINSPECTOR
 * spin: run 3 -DROUNDS_1=2 -DCANCELS=2
 * spin: run 3 -DROUNDS_1=2 -DINSPECTOR
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
bool in_frame[WAITERS];         /* the wait's frame lives */
byte held[WAITERS];             /* by so many others, who will touch the wait or its agent once more */
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
inline settle(w, how, won) {
    won = (state[w] == WAITING);
    if
    :: won -> state[w] = how
    :: else
    fi
}
/* The step that it is, with what the agent does to its own variables after it. */
#ifdef SETTLE_BY_STORE
#define SETTLING
#else
#define SETTLING atomic
#endif

inline unpark(w) {
    d_step {
        assert(!ended[w]);
        assert(unparks_owed[w] == 1);
        unparks_owed[w] = 0;
        held[w]--;
        if
        :: w == THREAD -> assert(word[w] != TOKEN); before = word[w]; word[w] = TOKEN
        :: else -> assert(!inbox[w]); before = IDLE; inbox[w] = true
        fi
    };
    if
    :: atomic { before == SLEEPING -> before = IDLE; asleep[w] = false } /* futex_wake: the address alone */
    :: atomic { before != SLEEPING -> before = IDLE }
    fi
}

proctype Waiter(byte w; byte rounds) {
    bool won, deadline;

    do
    :: rounds == 0 -> break
    :: atomic {
        !locked && rounds > 0 -> /* a1, a2, a3: one turn with the queue's lock */
        rounds--;
        in_frame[w] = true;
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
        :: requested[w] && interruptible[w] -> /* a5 */
            SETTLING {
                settle(w, CANCELLED, won);
                if
                :: won -> won = false; goto a7
                :: else -> parked_for_ever[w] = !deadline
                fi
            }
        :: atomic { !(requested[w] && interruptible[w]) -> parked_for_ever[w] = !deadline }
        fi;
#else
        parked_for_ever[w] = !deadline;
#endif

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
                :: SETTLING { /* nobody else reads `asleep`: that the sleep ends is no step of its own */
                    deadline && asleep[w] -> asleep[w] = false;
                    settle(w, TIMED_OUT, won);
                    if
                    :: won -> won = false; goto disarm
                    :: else -> deadline = false; parked_for_ever[w] = true
                    fi
                   };
#ifdef GO_BEFORE_UNPARK
                    goto disarm
#endif
#ifdef SPURIOUS
                :: atomic { asleep[w] -> asleep[w] = false } /* without a cause */
#endif
                fi
            :: atomic { word[w] == TOKEN -> word[w] = IDLE; break }
            od
        :: w == COROUTINE -> /* the loop: its inbox, or the timer */
            do
            :: atomic { inbox[w] -> inbox[w] = false; break }
            :: SETTLING {
                deadline -> settle(w, TIMED_OUT, won);
                if
                :: won -> won = false; break
                :: else -> deadline = false; parked_for_ever[w] = true
                fi
               };
#ifdef GO_BEFORE_UNPARK
                break
#endif
            od
        fi;
        goto unparked;
disarm: word[w] = IDLE;
unparked:
a7:
        atomic {
#ifndef END_IN_SPITE_OF_CLAIM
            current[w] == IN_WAIT ->
#endif
            current[w] = NOBODY; parked_for_ever[w] = false; deadline = false
        };
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
            assert(held[w] == 0);   /* the frame goes, or serves for another wait */
            in_frame[w] = false;
            ended[w] = (rounds == 0)
        }
    od
}

proctype Notifier() {
    byte left = NOTIFICATIONS;
    byte w, before;
    bool won;

    do
    :: left == 0 -> break
    :: atomic { left > 0 && !locked -> left--; locked = true }; /* n1 */
        do
        :: atomic { length == 0 -> permits++; locked = false; break }
        :: atomic { length > 0 -> w = queue[0]; assert(in_frame[w]); held[w]++; remove(w) }; /* n2 */
            SETTLING { /* n3 */
                settle(w, WOKEN, won);
                if
                :: won -> unparks_owed[w]++
                :: else -> assert(in_frame[w])
                fi
            };
            if
            :: atomic { won -> won = false; locked = false }; /* n4 */
                unpark(w); /* n5 */
                break
#ifdef UNPARK_TWICE
            :: atomic { !won -> locked = false }; unpark(w); break
#else
#ifdef DROP_WITH_WAITER
            :: atomic { !won -> held[w]--; locked = false; break }
#else
            :: atomic { !won -> held[w]-- }
#endif
#endif
            fi
        od;
        w = 0
    od
}

/* Agent::claim_current; `seen` tells whether there was a wait. */
inline claim(w, seen) {
    if
    :: current[w] == NOBODY
    :: atomic {
#ifdef NO_CLAIM
        current[w] != NOBODY ->
#else
        current[w] == IN_WAIT -> current[w] = CLAIMED; /* while another claims, this waits */
#endif
        assert(in_frame[w]); held[w]++; seen = true
       }
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
    byte w, before;
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
        :: seen ->
            if
#ifdef CANCEL_UNASKED
            :: interruptible[w] ->
#else
            :: interruptible[w] && requested[w] ->
#endif
                SETTLING { /* c4 */
                    settle(w, CANCELLED, won);
                    if
                    :: won -> unparks_owed[w]++
                    :: else
                    fi
                }
            :: else
            fi;
            if
            :: atomic { won -> unclaim(w) }; /* c5 */
                unpark(w) /* c6 */
            :: atomic { !won -> unclaim(w); held[w]-- }
            fi
        :: !seen
        fi;
next:
        atomic { seen = false; won = false; w = 0 }
    od
}

#ifdef INSPECTOR
proctype Inspector() {
    byte w;
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
    :: seen ->
        assert(in_frame[w]); /* still, after others had a turn */
        atomic { unclaim(w); held[w]-- }
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
