//! What a worker does for a scheduler: it asks the policy for a decision, carries it out, and reports the result to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::engine::{Engine, Prepared, Session, SessionError, Width};
use super::item::{Outcome, Payload};
use super::others::{Others, Published};
use super::policy::{Decision, ItemId};
use super::pool::{Chosen, Job, Member};
use super::shared::Shared;
use super::state::{Phase, State};

/// The session to go on with, if there is one, and what the run returned.
type Run<E> = (
    Option<<E as Engine>::Session>,
    Result<Vec<<E as Engine>::Output>, SessionError>,
);

impl<E: Engine> Member for Shared<E> {
    fn choose(&self, others: Others, now: Instant) -> Chosen {
        let mut state = self.lock();
        if state.phase == Phase::Aborted {
            return Chosen::Nothing(None);
        }
        state.policy.set_others(others);
        let (decision, dropped) = state.policy.decide(now);
        for (request, left) in dropped {
            self.expire(&mut state, request, left);
        }
        self.publish(&state, now);
        match decision {
            Decision::Wait(_) if !state.outbox.is_empty() => Chosen::Send,
            Decision::Wait(until) => Chosen::Nothing(until),
            decision => Chosen::Job(Job {
                expected: state.policy.expected(&decision),
                decision,
                more: state.policy.startable(),
            }),
        }
    }

    fn execute(&self, decision: Decision) {
        match decision {
            Decision::Prepare(item) => prepare(self, item),
            Decision::Run(width, items) => run(self, width, &items),
            Decision::Wait(_) => {}
        }
        self.flush();
    }

    fn send(&self) {
        self.flush();
    }

    fn published(&self) -> &Published {
        &self.published
    }
}

fn prepare<E: Engine>(shared: &Shared<E>, item: ItemId) {
    let payload = shared.lock().take_payload(item);
    let prepared = match payload {
        Some(Payload::Raw(raw)) => {
            catch_unwind(AssertUnwindSafe(|| shared.engine.prepare(raw))).map_err(|p| panicked(&*p))
        }
        Some(Payload::Ready(input)) => Ok(Ok(Prepared {
            input,
            decode: Duration::ZERO,
            preprocess: Duration::ZERO,
        })),
        None => Err(SessionError("the item was taken twice".into())),
    };
    let mut state = shared.lock();
    let ok = matches!(prepared, Ok(Ok(_)));
    let gone = state.policy.prepared(item, ok, Instant::now());
    match prepared {
        Ok(Ok(Prepared {
            input,
            decode,
            preprocess,
        })) => {
            shared.observer.prepared(decode, preprocess);
            state.put_prepared(item, input, decode, preprocess);
            if gone {
                shared.end(&mut state, item, Outcome::Aborted);
            }
        }
        Ok(Err(invalid)) => shared.end(&mut state, item, Outcome::Invalid(invalid)),
        Err(error) => shared.end(&mut state, item, Outcome::Failed(error)),
    }
}

fn run<E: Engine>(shared: &Shared<E>, width: Width, items: &[ItemId]) {
    let mut state = shared.lock();
    let start = Instant::now();
    let mut inputs = Vec::with_capacity(items.len());
    for item in items {
        state.start(*item, items.len(), start);
        if let Some(Payload::Ready(input)) = state.take_payload(*item) {
            inputs.push(input);
        }
    }
    let session = state.take_session(width);
    drop(state);

    let (session, result) = run_guarded(shared, session, width, &inputs);
    let inference = start.elapsed();
    drop(inputs);

    let mut state = shared.lock();
    state.put_session(width, session);
    finish(shared, &mut state, items, result, (width, inference));
}

/// Reports a run that has ended.
fn finish<E: Engine>(
    shared: &Shared<E>,
    state: &mut State<E>,
    items: &[ItemId],
    result: Result<Vec<E::Output>, SessionError>,
    (width, inference): (Width, Duration),
) {
    if let Some(first) = items.first() {
        let ended = state.policy.ran(*first, result.is_ok(), Instant::now());
        ended
            .into_iter()
            .for_each(|predicted| shared.observer.predicted(predicted));
    }
    match result {
        Ok(outputs) => {
            shared.observer.ran(width, items.len(), inference);
            for (item, output) in items.iter().zip(outputs) {
                let timings = state.finish(*item, inference);
                shared.end(state, *item, Outcome::Completed { output, timings });
            }
        }
        Err(error) => items
            .iter()
            .for_each(|item| shared.end(state, *item, Outcome::Failed(error.clone()))),
    }
}

/// Runs a batch. A session that fails or panics is not trusted again: it is dropped and another made in its place.
fn run_guarded<E: Engine>(
    shared: &Shared<E>,
    session: Option<E::Session>,
    width: Width,
    inputs: &[E::Input],
) -> Run<E> {
    let session = match session {
        Some(session) => Ok(session),
        None => rebuild(shared, width, &SessionError("there is none".into())),
    };
    let mut session = match session {
        Ok(session) => session,
        Err(error) => return (None, Err(error)),
    };
    let result = catch_unwind(AssertUnwindSafe(|| session.run(inputs)));
    let result = result
        .unwrap_or_else(|panic| Err(panicked(&*panic)))
        .and_then(|outputs| match outputs.len() {
            n if n == inputs.len() => Ok(outputs),
            n => Err(SessionError(format!(
                "{n} outputs came out for {} inputs",
                inputs.len()
            ))),
        });
    match result {
        Ok(outputs) => (Some(session), Ok(outputs)),
        Err(error) => {
            drop(session);
            (rebuild(shared, width, &error).ok(), Err(error))
        }
    }
}

/// Makes a session, unless an attempt has just failed: then the batch fails at once.
fn rebuild<E: Engine>(shared: &Shared<E>, width: Width, reason: &SessionError) -> Result<E::Session, SessionError> {
    let wait = shared.lock().backoff.left(width, Instant::now());
    if !wait.is_zero() {
        return Err(SessionError(format!(
            "there is none, and none could be made; the next attempt is in {} ms",
            wait.as_millis()
        )));
    }
    shared.observer.rebuilding(width, reason);
    shared.lock().rebuilding += 1;
    let rebuilt = catch_unwind(AssertUnwindSafe(|| shared.engine.rebuild(width)));
    let rebuilt = rebuilt.unwrap_or_else(|panic| Err(panicked(&*panic)));
    let mut state = shared.lock();
    state.rebuilding -= 1;
    state.backoff.tried(width, rebuilt.is_ok(), Instant::now());
    rebuilt
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> SessionError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    SessionError(format!("panicked: {}", text.unwrap_or("no message")))
}
