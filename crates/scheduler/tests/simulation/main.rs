//! The policy in virtual time: what is done in time, how clients share, and how wrong estimates are corrected. The figures for the
//! documentation: `cargo run --release -p repserve-scheduler --example goodput`.

mod oracle;
mod scenario;
mod world;

use scenario::{Arrivals, Decode, Scenario, Source};
use world::World;

fn poisson(rate: f64) -> Source {
    Source::new(Arrivals::Poisson { rate })
}

/// Connections that ask again soon when refused, five thousand times a second together.
fn closed(connections: usize) -> Source {
    Source::new(Arrivals::Closed {
        connections,
        pause_s: 0.0005,
        retry_s: connections as f64 / 5000.0,
    })
}

/// At `workers` cores, single images at `load` times the capacity, wanted within `deadline` services: what is done in time, relative to
/// the capacity, and relative to what was admitted.
#[track_caller]
fn check(workers: usize, load: f64, deadline: f64, goodput_min: f64) {
    let world = World::run(Scenario::new(workers).loaded(load, deadline));
    let (goodput, kept) = (world.goodput(), world.kept());
    assert!(
        goodput >= goodput_min && kept >= 0.99,
        "{workers} cores, load {load}, {deadline} services: {goodput:.3} in time, {kept:.4} of the admitted"
    );
}

#[test]
fn what_is_admitted_is_done_in_time_and_the_cores_are_used() {
    for workers in [1, 2, 8] {
        for deadline in [5.0, 10.0, 50.0] {
            for load in [1.5, 3.0, 10.0] {
                check(workers, load, deadline, 0.95);
            }
        }
    }
    check(64, 1.5, 5.0, 0.95);
    check(64, 10.0, 2.0, 0.95);
}

/// With so little time the queue must be so short that cores idle between arrivals at random, whoever decides: what counts is how near it
/// comes to the best rule.
#[test]
fn with_deadlines_of_two_and_three_services_little_is_lost_to_the_best_rule() {
    for (deadline, share) in [(2.0, 0.75), (3.0, 0.9)] {
        for workers in [1, 2] {
            for load in [1.5, 3.0, 10.0] {
                let scenario = Scenario::new(workers).loaded(load, deadline);
                check(workers, load, deadline, share * oracle::best(&scenario));
            }
        }
    }
}

#[test]
fn light_load_is_done_whole() {
    for workers in [2, 8] {
        for load in [0.5, 0.8] {
            check(workers, load, 10.0, load * 0.95);
        }
    }
}

#[test]
fn small_batches_are_used_where_they_gain() {
    let mut scenario = Scenario::new(2);
    (scenario.service_s, scenario.batch_max, scenario.batch_share) = (0.002, 8, 0.4);
    for load in [1.5, 10.0] {
        let world = World::run(scenario.clone().loaded(load, 20.0));
        let (goodput, kept) = (world.goodput(), world.kept());
        assert!(goodput >= 0.9 && kept >= 0.99, "load {load}: {goodput:.3}, {kept:.4}");
    }
}

/// A run of four takes 3.1 times as long as a single one, which was not measured at the start.
#[test]
fn the_size_of_batches_that_saves_most_is_found() {
    let mut scenario = Scenario::new(2);
    (scenario.batch_share, scenario.batch_tried_max) = (0.7, Some(4));
    (scenario.seconds, scenario.settle_s) = (16.0, 8.0);
    for source in [closed(32), poisson(3.0 * scenario.capacity())] {
        let world = World::run(scenario.clone().with(source.clone()));
        let goodput = world.goodput();
        assert!(goodput >= 0.97 * 4.0 / 3.1, "{source:?}: {goodput:.3}");
    }
}

/// A model whose runs of four take three times as long as single ones, of pictures: full runs fit into the deadline, but not two of them
/// one after the other. Clients whose requests wait to be read have less time left, and each a different one.
#[test]
fn runs_are_filled_as_far_as_deadlines_allow() {
    let decode_s = 0.002;
    let mut scenario = Scenario::new(2);
    (scenario.service_s, scenario.batch_max, scenario.batch_share) = (0.025, 4, 2.0 / 3.0);
    (scenario.noise, scenario.seconds) = (0.1, 12.0);
    let capacity = scenario.capacity() / (1.0 + decode_s * scenario.capacity() / 2.0);
    let loads = [1.5, 3.0, 10.0].map(|load| poisson(load * capacity));
    for source in loads.into_iter().chain([closed(512), closed(1000)]) {
        for (deadline_s, age_s, goodput_min) in [(0.1, 0.0, 0.85), (0.2, 0.0, 0.95), (0.2, 0.1, 0.9), (1.0, 0.1, 0.97)]
        {
            let decode = Decode::Expected { s: decode_s };
            let source = source.clone().within(deadline_s).aged(age_s).decode(decode);
            let world = World::run(scenario.clone().with(source.clone()));
            let goodput = world.goodput() * scenario.capacity() / capacity;
            assert!(
                goodput >= goodput_min && world.kept() >= 0.99,
                "{source:?}: {goodput:.3}, {:.4}",
                world.kept()
            );
        }
    }
}

#[test]
fn a_wrong_measurement_is_corrected_within_a_second() {
    for misjudged in [0.5, 2.0] {
        for (load, deadline) in [(1.5, 10.0), (10.0, 10.0), (3.0, 50.0)] {
            let mut scenario = Scenario::new(4).loaded(load, deadline);
            (scenario.misjudged, scenario.settle_s) = (misjudged, 0.0);
            let whole = World::run(scenario.clone()).goodput();
            scenario.settle_s = 1.0;
            let after = World::run(scenario);
            assert!(
                whole >= 0.85 && after.goodput() >= 0.93 && after.kept() >= 0.98,
                "{misjudged} of the real cost, load {load}, {deadline} services: {whole:.3}, then {:.3}, {:.4}",
                after.goodput(),
                after.kept()
            );
        }
    }
}

#[test]
fn a_neighbour_that_slows_everything_down_is_noticed() {
    for factor in [0.5, 2.0] {
        let mut scenario = Scenario::new(2).loaded(3.0, 20.0);
        (scenario.slower, scenario.settle_s) = (Some((0.0, factor)), 1.0);
        let world = World::run(scenario);
        let goodput = world.goodput() * factor;
        assert!(
            goodput >= 0.9 && world.kept() >= 0.98,
            "{factor}: {goodput:.3}, {:.4}",
            world.kept()
        );
    }
}

#[test]
fn decoding_with_a_heavy_tail_is_allowed_for() {
    let decode = Decode::HeavyTail { s: 0.02, exponent: 2.5 };
    for deadline_s in [0.3, 1.0] {
        let mut scenario = Scenario::new(4).with(poisson(300.0).within(deadline_s).decode(decode));
        scenario.seconds = 20.0;
        let world = World::run(scenario);
        // Half of the work is decoding.
        let goodput = world.goodput() * 2.0;
        assert!(
            goodput >= 0.85 && world.kept() >= 0.97,
            "{goodput:.3}, {:.4}",
            world.kept()
        );
    }
}

#[test]
fn clients_that_retry_at_once_cost_no_goodput() {
    for connections in [64, 512] {
        for deadline_s in [None, Some(0.1), Some(0.2), Some(1.0)] {
            let source = Source {
                deadline_s,
                ..closed(connections)
            };
            let world = World::run(Scenario::new(2).with(source));
            let (goodput, kept) = (world.goodput(), world.kept());
            assert!(
                goodput >= 0.95 && kept >= 0.99,
                "{connections}, {deadline_s:?}: {goodput:.3}, {kept:.4}"
            );
        }
    }
}

#[test]
fn without_a_deadline_the_wait_is_bounded_and_bursts_are_let_through() {
    let world = World::run(Scenario::new(2).with(poisson(1000.0)));
    assert!(world.goodput() >= 0.99);
    let wait = world.figures[0].quantile(0.99);
    assert!(wait <= 2.5, "{wait:.2} s, where 1 s is wanted");
    let size = 150;
    let bursts = Arrivals::Bursts { size, every_s: 3.0 };
    let world = World::run(Scenario::new(2).with(Source::new(bursts)));
    assert_eq!(world.figures[0].refused, 0);
}

/// What a lone image of client 2 takes at most (99 of 100) beside `others`, in single runs.
fn lone(workers: usize, others: Vec<Source>) -> f64 {
    let lone = Source::new(Arrivals::Closed {
        connections: 1,
        pause_s: 0.05,
        retry_s: 0.05,
    });
    let mut scenario = Scenario::new(workers).with(lone.client(2));
    scenario.queue_capacity = 256;
    scenario.sources.extend(others);
    scenario.seconds = 10.0;
    let service_s = scenario.service_s;
    let world = World::run(scenario);
    let figures = &world.figures[0];
    assert_eq!(figures.refused, 0, "a lone image was refused");
    assert!(figures.took_s.len() > 50);
    figures.quantile(0.99) / service_s
}

#[test]
fn a_lone_image_waits_at_most_three_runs_more_beside_a_client_that_sends_much() {
    for workers in [1, 2, 8] {
        let alone = lone(workers, vec![]);
        let large = lone(workers, vec![closed(4).items(64)]);
        let many = lone(workers, vec![closed(1000)]);
        let urgent = lone(workers, vec![closed(1000).within(0.5).priority(1)]);
        for beside in [large, many, urgent] {
            assert!(
                beside <= alone + 3.0,
                "{workers} cores: {beside:.2} runs beside, {alone:.2} alone"
            );
        }
    }
}

#[test]
fn a_lone_image_does_not_wait_for_large_requests_of_its_own_client() {
    let alone = lone(2, vec![]);
    let beside = lone(2, vec![closed(2).items(64).client(2)]);
    assert!(beside <= alone + 3.0, "{beside:.2} runs beside, {alone:.2} alone");
}

#[test]
fn long_decoding_leaves_a_core_to_the_others() {
    let decode = Decode::Expected { s: 1.0 };
    for workers in [2, 8] {
        let (alone, beside) = (lone(workers, vec![]), lone(workers, vec![closed(16).decode(decode)]));
        let allowed = alone.max(1.0) * 3.0;
        assert!(
            beside <= allowed,
            "{workers} cores: {beside:.2} runs beside, {alone:.2} alone"
        );
    }
}

#[test]
fn clients_get_equal_shares_and_none_starves() {
    let scenario = Scenario::new(4)
        .with(closed(500).client(1))
        .with(closed(40).client(2).within(0.5))
        .with(closed(4).items(16).client(3).within(2.0))
        .with(closed(30).client(4).priority(1));
    let world = World::run(scenario);
    let images: Vec<usize> = world.figures.iter().map(|figures| figures.in_time).collect();
    let (least, most) = (images.iter().min().unwrap(), images.iter().max().unwrap());
    assert!(*least as f64 >= *most as f64 * 0.7, "{images:?}");
    assert!(
        world.goodput() >= 0.95 && world.kept() >= 0.98,
        "{:.3}, {:.4}",
        world.goodput(),
        world.kept()
    );
}

#[test]
fn the_more_urgent_of_a_client_goes_first_and_the_rest_gets_what_is_left() {
    let scenario = Scenario::new(2)
        .with(poisson(60.0).within(0.3).priority(1))
        .with(poisson(200.0).within(0.3).priority(2));
    let world = World::run(scenario);
    let [urgent, other] = &world.figures[..] else {
        panic!("two sources");
    };
    let done = urgent.in_time as f64 / (urgent.in_time + urgent.late + urgent.refused) as f64;
    assert!(done >= 0.98, "{done:.3} of the urgent ones");
    assert!(other.in_time > 200, "{} of the others", other.in_time);
}

#[test]
fn no_core_is_idle_under_load() {
    for workers in [1, 2, 16] {
        let world = World::run(Scenario::new(workers).with(closed(64 * workers)));
        assert!(world.utilization() >= 0.99, "{:.3}", world.utilization());
    }
}
