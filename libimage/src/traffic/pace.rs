//! How many requests a host is sent at once: more while it answers, half when it asks for patience.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// Requests under way to a host at the start.
const START: usize = 4;
/// Requests under way to a host, at most: beyond this, registries and their storage get slower, not faster.
const MOST: usize = 16;

/// The gate of one host. Whoever waits longest goes first.
///
/// Additive increase: as many good answers as may be under way at once earn one more. Multiplicative decrease: 429 and 503 halve,
/// and close the gate for as long as the host says.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    allowed: usize,
    under_way: usize,
    /// Good answers, while the gate was in use to its limit, since the last change.
    earned: usize,
    /// Requests that were under way when it was halved last and are still: refusals of those are the same refusal.
    forgiven: usize,
    /// Until then nothing is sent.
    closed: Option<Instant>,
    waiting: VecDeque<oneshot::Sender<()>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            allowed: START,
            under_way: 0,
            earned: 0,
            forgiven: 0,
            closed: None,
            waiting: VecDeque::new(),
        }
    }
}

/// The right to send one request; dropping it lets the next one go.
#[derive(Debug)]
#[must_use = "the request may be sent while this is held"]
pub(crate) struct Turn<'a>(&'a Pace);

impl Pace {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is valid after every statement: a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the right to send a request.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let turn = self.place().await;
        loop {
            let closed = self.state().closed;
            let left = closed.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return turn,
            }
        }
    }

    async fn place(&self) -> Turn<'_> {
        let waiting = {
            let mut state = self.state();
            if state.under_way < state.allowed && state.waiting.is_empty() {
                state.under_way += 1;
                return Turn(self);
            }
            let (go, waiting) = oneshot::channel();
            state.waiting.push_back(go);
            waiting
        };
        let mut ticket = Ticket {
            pace: self,
            waiting: Some(waiting),
        };
        if let Some(waiting) = &mut ticket.waiting {
            // The sender is dropped unused with the gate alone, and that is borrowed here.
            drop(waiting.await);
        }
        ticket.waiting = None;
        Turn(self)
    }

    /// Notes a good answer.
    pub(crate) fn went_well(&self) {
        let mut state = self.state();
        // Only a gate that is in use to its limit has shown that the host bears more.
        if state.under_way < state.allowed || state.allowed >= MOST {
            return;
        }
        state.earned += 1;
        if state.earned >= state.allowed {
            state.allowed += 1;
            state.earned = 0;
            state.admit();
        }
    }

    /// Lets nobody through for so long.
    pub(crate) fn close(&self, wait: Option<Duration>) {
        if let Some(until) = wait.and_then(|wait| Instant::now().checked_add(wait)) {
            let mut state = self.state();
            state.closed = state.closed.max(Some(until));
        }
    }

    /// Notes that the host asked for patience, and for how long if it said so. Returns whether it is sent less from now on: one refusal
    /// halves, and what else was under way then and is refused too does not halve again.
    pub(crate) fn slow_down(&self, wait: Option<Duration>) -> bool {
        self.close(wait);
        let mut state = self.state();
        if state.forgiven > 0 {
            return false;
        }
        state.allowed = (state.allowed / 2).max(1);
        state.earned = 0;
        state.forgiven = state.under_way;
        true
    }
}

impl State {
    /// Lets those go that have waited longest.
    fn admit(&mut self) {
        while self.under_way < self.allowed
            && let Some(go) = self.waiting.pop_front()
        {
            // Whoever has given up waiting does not take the turn.
            if go.send(()).is_ok() {
                self.under_way += 1;
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        state.forgiven = state.forgiven.saturating_sub(1);
        state.admit();
    }
}

/// A place in the queue.
struct Ticket<'a> {
    pace: &'a Pace,
    waiting: Option<oneshot::Receiver<()>>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let Some(mut waiting) = self.waiting.take() else {
            return;
        };
        let mut state = self.pace.state();
        // Closed under the lock: a turn is either given already, and returned here, or never.
        waiting.close();
        if waiting.try_recv().is_ok() {
            state.under_way -= 1;
            state.admit();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Takes as many turns as can be had without waiting.
    fn at_once(pace: &Pace) -> Vec<Turn<'_>> {
        std::iter::from_fn(|| pace.turn().now_or_never()).collect()
    }

    #[test]
    fn a_host_that_answers_is_asked_more_and_one_that_refuses_half() {
        let pace = Pace::default();
        assert_eq!(at_once(&pace).len(), START);
        for _ in 0..1000 {
            pace.went_well();
        }
        assert_eq!(
            at_once(&pace).len(),
            START,
            "a gate nobody waits at does not widen"
        );
        for wanted in START..MOST {
            let turns = at_once(&pace);
            assert_eq!(turns.len(), wanted);
            turns.iter().for_each(|_| pace.went_well());
        }
        let turns = at_once(&pace);
        turns.iter().for_each(|_| pace.went_well());
        drop(turns);
        let turns = at_once(&pace);
        assert_eq!(turns.len(), MOST);
        assert!(pace.slow_down(None));
        assert!(!pace.slow_down(None), "several refusals at once are one");
        drop(turns);
        let turns = at_once(&pace);
        assert_eq!(turns.len(), MOST / 2);
        assert!(pace.slow_down(None), "of another request it is another");
        drop(turns);
        assert_eq!(at_once(&pace).len(), MOST / 4);
    }

    #[test]
    fn whoever_waits_longest_goes_first_and_whoever_gives_up_takes_nothing() {
        let pace = Pace::default();
        let mut turns = at_once(&pace);
        let (mut first, mut second) = (Box::pin(pace.turn()), Box::pin(pace.turn()));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        turns.pop();
        assert!(
            second.as_mut().now_or_never().is_none(),
            "the first comes first"
        );
        // It was let go, and is dropped before it has looked.
        drop(first);
        assert!(second.as_mut().now_or_never().is_some());
        drop(second);
        drop(turns);
        assert_eq!(at_once(&pace).len(), START, "every turn came back");
    }

    #[test]
    fn a_closed_gate_lets_nobody_through() {
        let pace = Pace::default();
        pace.slow_down(Some(Duration::from_secs(3600)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let waited = runtime.block_on(async {
            tokio::time::timeout(Duration::from_millis(5), pace.turn())
                .await
                .is_err()
        });
        assert!(waited);
    }
}
