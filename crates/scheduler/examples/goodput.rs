//! Simulated goodput by number of cores, load and deadline: `cargo run --release -p repserve-scheduler --example goodput`.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::print_stdout)]

#[path = "../tests/simulation/oracle.rs"]
mod oracle;
#[path = "../tests/simulation/scenario.rs"]
mod scenario;
#[path = "../tests/simulation/world.rs"]
mod world;

use scenario::Scenario;
use world::World;

fn main() {
    println!(
        "| cores | deadline, services | load | in time, share of the capacity | of the admitted | the best rule |"
    );
    println!("|---|---|---|---|---|---|");
    for workers in [1, 2, 8, 16, 32, 64] {
        for deadline in [2.0, 3.0, 5.0, 10.0, 50.0] {
            for load in [0.8, 1.5, 3.0, 10.0] {
                let scenario = Scenario::new(workers).loaded(load, deadline);
                let best = oracle::best(&scenario);
                let world = World::run(scenario);
                println!(
                    "| {workers} | {deadline} | {load} | {:.3} | {:.4} | {best:.3} |",
                    world.goodput(),
                    world.kept()
                );
            }
        }
    }
}
