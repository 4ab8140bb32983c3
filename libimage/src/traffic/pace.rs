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
/// One refusal halves; what else was under way then and is refused too does not halve again.
const QUIET: Duration = Duration::from_secs(1);

/// The gate of one host. Whoever waits longest goes first.
///
/// Additive increase: as many good answers as may be under way at once earn one more. Multiplicative decrease: 429 and 503 halve.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    allowed: usize,
    under_way: usize,
    /// Good answers since the last change.
    earned: usize,
    halved: Option<Instant>,
    waiting: VecDeque<oneshot::Sender<()>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            allowed: START,
            under_way: 0,
            earned: 0,
            halved: None,
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the right to send a request.
    pub(crate) async fn turn(&self) -> Turn<'_> {
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
        // If the future is dropped after it was let go, the guard gives the turn back.
        let mut ticket = Ticket {
            pace: self,
            waiting: Some(waiting),
        };
        if let Some(waiting) = &mut ticket.waiting {
            // The sender is only dropped with the gate itself, which we borrow.
            drop(waiting.await);
        }
        ticket.waiting = None;
        Turn(self)
    }

    /// Notes a good answer.
    pub(crate) fn went_well(&self) {
        let mut state = self.state();
        state.earned += 1;
        // Only a gate that is in use to its limit has shown that it bears more.
        if state.earned >= state.allowed && state.allowed < MOST && state.under_way >= state.allowed
        {
            state.allowed += 1;
            state.earned = 0;
            state.admit();
        }
    }

    /// Notes that the host asked for patience.
    pub(crate) fn slow_down(&self) {
        let mut state = self.state();
        if state.halved.is_some_and(|last| last.elapsed() < QUIET) {
            return;
        }
        state.allowed = (state.allowed / 2).max(1);
        state.earned = 0;
        state.halved = Some(Instant::now());
    }

    #[cfg(test)]
    fn allowed(&self) -> usize {
        self.state().allowed
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
