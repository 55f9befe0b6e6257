use proptest::prelude::*;

use super::*;

fn outcome(versions: &[(&str, bool)]) -> Outcome {
    let each = |(version, ok): &(&str, bool)| {
        let result = if *ok { Ok(()) } else { Err("broken".to_owned()) };
        ((*version).to_owned(), result)
    };
    Outcome::Versions(versions.iter().map(each).collect())
}

/// A model that serves version 1.
fn serving() -> Lifecycle {
    let mut model = Lifecycle::default();
    let load = model.load().load;
    assert!(model.begin(load));
    model.loading(["1"]);
    assert_eq!(model.versions()["1"], State::Loading);
    assert!(model.ended(load, outcome(&[("1", true)])).publish);
    model
}

#[test]
fn a_version_is_exchanged_for_the_next() {
    let mut model = serving();
    let load = model.load().load;
    assert!(model.begin(load));
    model.loading(["2"]);
    assert_eq!(model.versions()["1"], State::Ready(None));
    let ended = model.ended(load, outcome(&[("2", true)]));
    assert_eq!((ended.publish, ended.retire), (true, vec!["1".to_owned()]));
    assert_eq!(model.versions()["1"], State::Unloading);
    model.retired("1");
    assert_eq!(model.versions()["1"], State::Unloaded);
    assert_eq!(model.versions()["2"], State::Ready(None));
}

#[test]
fn what_cannot_be_loaded_leaves_what_is_served() {
    let mut model = serving();
    let load = model.load().load;
    assert!(model.begin(load));
    let ended = model.ended(load, outcome(&[("2", false)]));
    assert_eq!(ended.retire, Vec::<String>::new());
    assert_eq!(model.versions()["1"], State::Ready(None));
    assert_eq!(model.versions()["2"], State::Failed("broken".to_owned()));
    let load = model.load().load;
    assert!(model.begin(load));
    model.ended(load, outcome(&[("1", false)]));
    assert_eq!(model.versions()["1"], State::Ready(Some("broken".to_owned())));
    let load = model.load().load;
    assert!(model.begin(load));
    model.ended(load, Outcome::Unreadable("gone".to_owned()));
    assert!(model.is_ready() && model.unreadable() == Some("gone"));
}

#[test]
fn two_loads_at_once_are_one() {
    let mut model = Lifecycle::default();
    let first = model.load();
    assert!(first.starts);
    assert_eq!((model.load().load, model.load().starts), (first.load, false));
    assert!(model.begin(first.load));
    let (second, third) = (model.load(), model.load());
    assert!(second.load != first.load && second == third && !second.starts);
    assert_eq!(
        model.ended(first.load, outcome(&[("1", true)])).starts,
        Some(second.load)
    );
    assert!(model.begin(second.load) && !model.begin(second.load));
}

#[test]
fn unloading_wins_over_a_load() {
    let mut model = serving();
    let load = model.load().load;
    assert!(model.begin(load));
    model.loading(["2"]);
    assert_eq!(model.unload(), ["1"]);
    assert!(!model.wants(load) && !model.is_loading());
    assert_eq!(model.ended(load, outcome(&[("2", true)])), Ended::default());
    assert!(!model.is_ready() && model.is_unloaded());

    let queued = model.load().load;
    assert!(model.unload().is_empty() && !model.begin(queued));
}

#[test]
fn a_load_after_unloading_starts_when_the_one_that_was_cancelled_has_ended() {
    let mut model = serving();
    let load = model.load().load;
    assert!(model.begin(load));
    model.unload();
    let again = model.load();
    assert!(!again.starts && model.is_loading());
    assert_eq!(model.ended(load, outcome(&[("2", true)])).starts, Some(again.load));
    assert!(model.begin(again.load));
}

/// What may happen to a model.
#[derive(Debug, Clone)]
enum Event {
    Load,
    Begin,
    End(Vec<(u8, bool)>),
    Vanish,
    Unload,
    Retire(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Load),
        Just(Event::Begin),
        prop::collection::vec((0..3u8, any::<bool>()), 0..3).prop_map(Event::End),
        Just(Event::Vanish),
        Just(Event::Unload),
        (0..3u8).prop_map(Event::Retire),
    ]
}

proptest! {
    /// Whatever happens: what is served is exactly what was published and not retired, one load runs at a time, each that is
    /// started was requested, and nothing is lost.
    #[test]
    fn what_is_served_is_what_was_published(events in prop::collection::vec(event(), 0..60)) {
        let mut model = Lifecycle::default();
        let mut served = BTreeSet::new();
        let (mut startable, mut running, mut cancelled) = (None, None, false);
        for event in events {
            match event {
                Event::Load => {
                    let requested = model.load();
                    if requested.starts {
                        prop_assert!(running.is_none() && startable.is_none());
                        startable = Some(requested.load);
                    }
                    prop_assert!(model.is_loading() && !model.is_unloaded());
                }
                Event::Begin => {
                    if let Some(load) = startable.take() && model.begin(load) {
                        prop_assert!(running.is_none());
                        (running, cancelled) = (Some(load), false);
                    }
                }
                Event::End(_) | Event::Vanish => {
                    let Some(load) = running.take() else { continue };
                    let outcomes: BTreeMap<Version, Result<(), String>> = match &event {
                        Event::End(versions) => versions.iter().map(|(version, ok)| {
                            (version.to_string(), if *ok { Ok(()) } else { Err("broken".to_owned()) })
                        }).collect(),
                        _ => BTreeMap::new(),
                    };
                    let outcome = match event {
                        Event::Vanish => Outcome::Unreadable("gone".to_owned()),
                        _ => Outcome::Versions(outcomes.clone()),
                    };
                    let ended = model.ended(load, outcome);
                    prop_assert_eq!(ended.publish, !cancelled);
                    if ended.publish {
                        served.extend(outcomes.into_iter().filter(|(_, ok)| ok.is_ok()).map(|(version, _)| version));
                    } else {
                        prop_assert!(ended.retire.is_empty());
                    }
                    for version in ended.retire {
                        prop_assert!(served.remove(&version));
                    }
                    startable = ended.starts;
                }
                Event::Unload => {
                    for version in model.unload() {
                        prop_assert!(served.remove(&version));
                    }
                    (startable, cancelled) = (None, true);
                    prop_assert!(served.is_empty() && !model.is_loading());
                }
                Event::Retire(version) => model.retired(&version.to_string()),
            }
            let ready = model.versions().iter().filter(|(_, state)| matches!(state, State::Ready(_)));
            prop_assert_eq!(&ready.map(|(version, _)| version.clone()).collect::<BTreeSet<_>>(), &served);
            let loading = model.versions().values().any(|state| *state == State::Loading);
            prop_assert!(!loading || running.is_some());
        }
    }
}
