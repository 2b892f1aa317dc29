/* The word of sync::Lock, as in include/sennit/sync/lock.hpp and src/sync/lock.cpp; a1..a8, r1..r6 and the parts of the word are
 * those named there. A step is one atomic operation; what is done to the queue under `busy` belongs to the step before. How one
 * parks and is unparked is waiter.pml's matter: here an unpark is a token.
 *
 * Agents lock and unlock, all but the first with a deadline that may pass. A releaser finds any waiter starved, or not. When nobody
 * else will come any more, the last owner destroys the lock after its release, as users may.
 *
 * Shown for every interleaving:
 *   1. one holder at a time
 *   2. unless busy, a linked waiter implies queued; woken implies that one who was woken is on its way
 *   3. everybody comes to an end: no wake-up is lost, no lock is left held
 *   4. between r3 and r5 nobody else changes queued, woken and busy
 *   5. nobody touches the lock after its death, nor a waiter's node
 *   6. with WRONG: of a release too many, whoever makes it, exactly one is refused, and it disturbs nobody
 *
 * spin: pan -E -m100000
 * spin: run 1
 * spin: run 1 -DWRONG -DAGENTS=2 -DTURNS=1
 * spin: run 2 -DTURNS=3
 * spin: run 2 -DAGENTS=4 -DTURNS=1
 * spin: run 2 -DWRONG -DTURNS=1
 * spin: run 3 -DAGENTS=4
 *
 * Each mutant must break one of these:
 * spin: mutant TAKE_WHILE_OWED      a lock whose releaser still owes a wake is taken (a2)
 * spin: mutant LOOK_AFTER_RELEASE   the releaser looks at the word again after it has given up the lock (r2)
 * spin: mutant WAKE_UNDER_BUSY      the waiter is woken while the releaser still has `busy` to clear (r5, r6)
 * spin: mutant NO_RECHECK           a waiter queues and sleeps without looking whether the lock was released meanwhile (a6)
 * spin: mutant KEEP_WOKEN           a waiter that queues leaves `woken` set (a6)
 * spin: mutant LOSE_HAND_OVER       a releaser whose waiter has timed out wakes nobody else (r4)
 * spin: mutant FORGET_QUEUED        `queued` is cleared though others wait (r5)
 * spin: mutant GRANT_WITHOUT_HOLD   a starved waiter is granted the lock, but `held` is not set (r5)
 * spin: mutant GRANT_AT_MINUS_ONE   a starved waiter is granted the lock while a release too many is being taken back (r5)
 * spin: mutant LEAVE_CLEARS_QUEUED  a waiter that leaves an empty queue clears `queued`, though a releaser owes a wake
 * spin: mutant LEAVE_BY_STORE       a waiter that leaves stores the word it has read
 */

#ifndef AGENTS
#define AGENTS 3
#endif
#ifndef TURNS
#define TURNS 2
#endif
#ifdef GRANT_AT_MINUS_ONE
#define WRONG
#endif

#define WAITING 0
#define WOKEN_UP 1
#define TIMED_OUT 2

/* The word. */
short held;
bool queued, woken, busy;
#define OWES_WAKE (queued && !woken)
#ifdef TAKE_WHILE_OWED
#define AVAILABLE (held == 0)
#else
#define AVAILABLE (held == 0 && !OWES_WAKE)
#endif

byte queue[AGENTS];
byte length;
bool dead;                      /* the lock */
byte still_to_come = AGENTS;    /* agents that have not ended their last acquire */
byte inside;                    /* holders */
byte on_their_way;              /* were woken, have neither got the lock nor queued */
byte refused;                   /* releases */

byte state[AGENTS];
bool linked[AGENTS];
bool granted[AGENTS];
bool competing[AGENTS];
bool token[AGENTS];             /* was unparked */
bool in_wait[AGENTS];           /* the node's frame lives */

#define TOUCH assert(!dead)

inline check() {
    assert(busy || length == 0 || queued);
    assert(!woken || on_their_way > 0)
}

inline remove(w) {
    if
    :: linked[w] ->
        i = 0;
        do
        :: queue[i] == w -> break
        :: else -> i++
        od;
        do
        :: i + 1 < length -> queue[i] = queue[i + 1]; i++
        :: else -> break
        od;
        length--;
        queue[length] = 0;
        linked[w] = false;
        i = 0
    :: else
    fi
}
inline push_back(w) { queue[length] = w; length++; linked[w] = true }
inline push_front(w) {
    i = length;
    do
    :: i > 0 -> queue[i] = queue[i - 1]; i--
    :: else -> break
    od;
    queue[0] = w; length++; linked[w] = true
}

inline settle(w, how, won) {
    won = (state[w] == WAITING);
    if
    :: won -> state[w] = how
    :: else
    fi
}

/* Arrives: the one who was woken has the lock or has queued. */
inline arrived(me) {
    if
    :: competing[me] -> competing[me] = false; on_their_way--
    :: else
    fi
}

/* r1..r6; `was_held` tells whether there was anything to release. */
inline release() {
    atomic {
        TOUCH;
        was_held = held >= 1;
        held--; /* r1 */
        owed = held == 0 && OWES_WAKE;
        check()
    };
#ifdef LOOK_AFTER_RELEASE
    atomic { TOUCH; owed = held == 0 && OWES_WAKE };
#endif
    if
    :: was_held -> skip
    :: !was_held ->
        atomic { held++; owed = held == 0 && OWES_WAKE; refused++ } /* taken back */
    fi;
    if
    :: !owed -> skip /* r2 */
    :: owed ->
        if
        :: atomic { OWES_WAKE && held == 0 && !busy -> TOUCH; busy = true } /* r3 */
            do
            :: atomic { /* r4 */
                length > 0 ->
                TOUCH; assert(queued && busy && !woken);
                n = queue[0]; remove(n);
                assert(in_wait[n]);
                if
                :: starved = true
                :: starved = false
                fi;
                granted[n] = starved
               };
                atomic { settle(n, WOKEN_UP, settled) };
                if
                :: settled ->
                    atomic {
#ifndef GRANT_AT_MINUS_ONE
                        !starved || held == 0 -> /* a compare-exchange, repeated */
#endif
                        TOUCH; assert(queued && busy && !woken);
#ifdef FORGET_QUEUED
                        queued = false;
#else
                        queued = length > 0;
#endif
                        if /* r5 */
#ifdef GRANT_WITHOUT_HOLD
                        :: starved -> skip
#else
                        :: starved -> held++
#endif
                        :: !starved -> woken = true; competing[n] = true; on_their_way++
                        fi;
#ifndef WAKE_UNDER_BUSY
                        busy = false;
#endif
                        check()
                    };
                    atomic { assert(in_wait[n]); assert(!token[n]); token[n] = true }; /* r6 */
#ifdef WAKE_UNDER_BUSY
                    atomic { TOUCH; busy = false };
#endif
                    break
                :: !settled ->
                    atomic { assert(in_wait[n]); granted[n] = false };
#ifdef LOSE_HAND_OVER
                    atomic { queued = length > 0; busy = false; break }
#endif
                fi
            :: atomic { length == 0 -> TOUCH; assert(queued && busy && !woken); queued = false; busy = false; check(); break }
            od
        :: atomic { !OWES_WAKE -> TOUCH } /* another was quicker */
        fi
    fi;
    atomic { n = 0; owed = false; starved = false; settled = false }
}

proctype Agent(byte me) {
    byte turns = TURNS;
    byte n, i;
    bool won, starved, settled, owed, was_held, last;

    do
    :: turns == 0 -> break
    :: atomic {
        turns > 0 -> turns--;
        TOUCH; /* a1, and a2 without a wait */
        if
        :: AVAILABLE -> held++; check(); goto acquired
        :: else -> in_wait[me] = true; state[me] = WAITING
        fi
       };

step:   /* acquire_step; to look again (a3) changes nothing */
        if
        :: atomic {
            AVAILABLE -> TOUCH; /* a2 */
            held++;
            if
            :: competing[me] -> woken = false
            :: else
            fi;
            arrived(me); check(); goto acquired
           }
        :: atomic {
            !AVAILABLE && !busy -> TOUCH; /* a4, a5 */
            busy = true;
            won = competing[me];
            if
            :: won -> push_front(me)
            :: !won -> push_back(me)
            fi;
            state[me] = WAITING
           }
        fi;
        if /* a6 */
#ifndef NO_RECHECK
        :: atomic {
            AVAILABLE -> TOUCH;
            remove(me);
            held = 1; queued = length > 0; busy = false;
            if
            :: won -> woken = false; won = false
            :: else
            fi;
            arrived(me); check(); goto acquired
           }
        :: atomic {
            !AVAILABLE -> TOUCH;
#else
        :: atomic {
            TOUCH;
#endif
            queued = true; busy = false;
#ifndef KEEP_WOKEN
            woken = false;
#endif
            won = false;
            arrived(me); check()
           }
        fi;

        /* a7 */
        if
        :: atomic { token[me] -> token[me] = false }
        :: me != 0 -> /* agent 0 has no deadline */
            atomic { settle(me, TIMED_OUT, won) };
            if
            :: won -> /* leave */
                atomic { !busy -> TOUCH; busy = true; remove(me); won = false };
#ifdef LEAVE_BY_STORE
                atomic { n = held; starved = woken };
                atomic { held = n; woken = starved; busy = false; queued = length > 0 || (held == 0 && OWES_WAKE); n = 0; starved = false };
#else
                atomic {
                    TOUCH;
#ifdef LEAVE_CLEARS_QUEUED
                    queued = length > 0;
#else
                    queued = length > 0 || (held == 0 && OWES_WAKE);
#endif
                    busy = false; check()
                };
#endif
                atomic { in_wait[me] = false; goto not_acquired }
            :: atomic { !won && token[me] -> token[me] = false }
            fi
        fi;
        if /* a8 */
        :: atomic { granted[me] -> granted[me] = false }
        :: atomic { !granted[me] -> goto step }
        fi;

acquired:
        atomic {
            in_wait[me] = false;
            state[me] = WAITING;
            won = false;
            inside++;
#ifndef WRONG
            assert(inside == 1);
#endif
            if
            :: turns == 0 -> still_to_come--
            :: else
            fi
        };
        /* The critical section; who is last knows it from here. */
        atomic { inside--; last = (turns == 0 && still_to_come == 0) };
        release();
#ifndef WRONG
        assert(was_held);
#endif
        atomic {
#ifndef WRONG
            dead = last;
#endif
            last = false; was_held = false; goto next
        };

not_acquired:
        if
        :: turns == 0 -> still_to_come--
        :: else
        fi;
next:   skip
    od
}

#ifdef WRONG
proctype Wrong() {
    byte n, i;
    bool starved, settled, owed, was_held;
    release()
}
#endif

active proctype Judge() {
    atomic {
        byte a;
        for (a : 0 .. AGENTS - 1) { run Agent(a) }
#ifdef WRONG
        run Wrong()
#endif
    };
    timeout;
    assert(still_to_come == 0 && held == 0 && !queued && !woken && !busy && length == 0 && inside == 0);
#ifdef WRONG
    assert(refused == 1)
#else
    assert(refused == 0)
#endif
}
