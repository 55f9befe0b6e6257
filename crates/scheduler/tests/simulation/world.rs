//! The scheduler's policy in virtual time: no clock, no thread, no sleep.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use repserve_scheduler::{
    BatchPolicy, ClientId, Cost, Decision, ItemId, Memory, Priority, Request, RequestId, RunTimes, Shape, Width,
};

use super::scenario::{Arrivals, Decode, Scenario, Source};

/// The wide session's speed as a share of that of all cores.
const WIDE_EFFICIENCY: f64 = 0.8;

/// What became of a source's requests, in images where not said otherwise.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) offered: usize,
    pub(crate) admitted: usize,
    /// Done by their deadline, or at all where they have none.
    pub(crate) in_time: usize,
    /// Done or given up after their deadline.
    pub(crate) late: usize,
    pub(crate) refused: usize,
    /// From the arrival to the end of each request that was done, in seconds.
    pub(crate) took_s: Vec<f64>,
}

impl Figures {
    /// A quantile of [`Self::took_s`].
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut took = self.took_s.clone();
        took.sort_by(f64::total_cmp);
        let index = took.len().saturating_sub(1) as f64 * share;
        took.get(index.round() as usize).copied().unwrap_or(0.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive {
        source: usize,
        connection: bool,
    },
    Prepared(ItemId),
    Ran {
        width_wide: bool,
        first: ItemId,
        items: usize,
    },
    Deadline(RequestId),
    Wake,
}

struct Waiting {
    source: usize,
    connection: bool,
    arrived: u64,
    deadline: Option<u64>,
    left: usize,
    items: usize,
}

/// A run of the simulation.
pub(crate) struct World {
    scenario: Scenario,
    policy: BatchPolicy,
    start: Instant,
    now_ns: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    random: fastrand::Rng,
    busy: usize,
    wide: bool,
    busy_ns: u64,
    requests: HashMap<RequestId, Waiting>,
    request_of: HashMap<ItemId, RequestId>,
    runs: HashMap<ItemId, Vec<ItemId>>,
    decode_ns: HashMap<ItemId, u64>,
    pub(crate) figures: Vec<Figures>,
}

impl World {
    /// Runs a scenario to its end.
    pub(crate) fn run(scenario: Scenario) -> Self {
        let mut world = Self::new(scenario);
        for source in 0..world.scenario.sources.len() {
            world.begin(source);
        }
        let end = nanos(world.scenario.seconds);
        while let Some(Reverse((at, _, event))) = world.events.pop() {
            if at > end {
                break;
            }
            world.now_ns = at;
            world.on(event);
            world.work();
        }
        world
    }

    fn new(scenario: Scenario) -> Self {
        let single = |items: usize| scenario.service_s * (1.0 + scenario.batch_share * (items as f64 - 1.0));
        let time = |items: usize| Duration::from_secs_f64(single(items) * scenario.misjudged);
        let wide = |items: usize| time(items).div_f64(scenario.workers as f64 * WIDE_EFFICIENCY);
        let sizes = [1, scenario.batch_max.max(2)];
        let run_times = RunTimes {
            narrow: sizes.iter().map(|items| (*items, time(*items))).collect(),
            wide: vec![(1, wide(1))],
        };
        let shape = Shape {
            workers: scenario.workers,
            wide_max: usize::from(scenario.workers > 1),
            batch_max: scenario.batch_max,
            batch_tried_max: scenario.batch_tried_max,
            delay: Duration::ZERO,
            fill: time(scenario.batch_max),
            queue_capacity: scenario.queue_capacity,
            wait_max: Duration::from_secs_f64(scenario.wait_max_s),
            run_times,
        };
        Self {
            policy: BatchPolicy::new(shape, Arc::new(Memory::unlimited())),
            start: Instant::now(),
            now_ns: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            random: fastrand::Rng::with_seed(scenario.seed),
            busy: 0,
            wide: false,
            busy_ns: 0,
            requests: HashMap::new(),
            request_of: HashMap::new(),
            runs: HashMap::new(),
            decode_ns: HashMap::new(),
            figures: vec![Figures::default(); scenario.sources.len()],
            scenario,
        }
    }

    /// Images done in time a second, over the capacity.
    pub(crate) fn goodput(&self) -> f64 {
        let images: usize = self.figures.iter().map(|figures| figures.in_time).sum();
        images as f64 / self.counted_s() / self.scenario.capacity()
    }

    /// Share of what was admitted that was done in time.
    pub(crate) fn kept(&self) -> f64 {
        let in_time: usize = self.figures.iter().map(|figures| figures.in_time).sum();
        let late: usize = self.figures.iter().map(|figures| figures.late).sum();
        in_time as f64 / (in_time + late).max(1) as f64
    }

    /// Share of the cores' time in which they did something.
    pub(crate) fn utilization(&self) -> f64 {
        self.busy_ns as f64 / 1e9 / self.scenario.seconds / self.scenario.workers as f64
    }

    fn counted_s(&self) -> f64 {
        self.scenario.seconds - self.scenario.settle_s
    }

    fn time(&self, ns: u64) -> Instant {
        self.start + Duration::from_nanos(ns)
    }

    fn later(&mut self, s: f64, event: Event) {
        self.at(self.now_ns + nanos(s), event);
    }

    fn at(&mut self, ns: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((ns, self.sequence, event)));
    }

    fn begin(&mut self, source: usize) {
        match self.scenario.sources[source].arrivals {
            Arrivals::Poisson { .. } | Arrivals::Bursts { .. } => self.next_arrival(source),
            Arrivals::Closed { connections, .. } => {
                for _ in 0..connections {
                    let s = self.random.f64() * self.scenario.service_s;
                    let connection = true;
                    self.later(s, Event::Arrive { source, connection });
                }
            }
        }
    }

    fn next_arrival(&mut self, source: usize) {
        let connection = false;
        match self.scenario.sources[source].arrivals {
            Arrivals::Poisson { rate } => {
                let s = -(1.0 - self.random.f64()).ln() / rate;
                self.later(s, Event::Arrive { source, connection });
            }
            Arrivals::Bursts { size, every_s } => {
                for _ in 0..size {
                    self.later(every_s, Event::Arrive { source, connection });
                }
            }
            Arrivals::Closed { .. } => {}
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Arrive { source, connection } => self.arrive(source, connection),
            Event::Prepared(item) => {
                self.busy -= 1;
                let now = self.time(self.now_ns);
                if self.policy.prepared(item, true, now) {
                    self.end(item, false);
                }
            }
            Event::Ran {
                width_wide,
                first,
                items: _,
            } => {
                self.busy -= if width_wide { self.scenario.workers } else { 1 };
                self.wide &= !width_wide;
                let now = self.time(self.now_ns);
                let _ = self.policy.ran(first, true, now);
                for item in self.runs.remove(&first).unwrap_or_default() {
                    self.end(item, true);
                }
            }
            Event::Deadline(request) => {
                if self.requests.contains_key(&request) {
                    let left = self.policy.abandon(request);
                    self.give_up(request, &left);
                }
            }
            Event::Wake => {}
        }
    }

    fn arrive(&mut self, source: usize, connection: bool) {
        let Source {
            client,
            arrivals,
            items,
            deadline_s,
            age_s,
            priority,
            decode,
        } = self.scenario.sources[source];
        let burst_follows = matches!(arrivals, Arrivals::Bursts { size, .. } if !self.figures[source].offered.is_multiple_of(size * items));
        if !connection && !burst_follows {
            self.next_arrival(source);
        }
        let now = self.time(self.now_ns);
        let age_s = age_s * self.random.f64();
        let deadline = deadline_s.map(|s| self.now_ns + nanos((s - age_s).max(0.0)));
        let request = Request {
            deadline: Some(deadline.map_or(now + Duration::from_secs(30), |ns| self.time(ns))),
            own_deadline: deadline.is_some(),
            priority: Priority(priority),
            client: ClientId(client),
            weight: 1,
        };
        let cost = match decode {
            Decode::None => None,
            Decode::Expected { s } | Decode::HeavyTail { s, .. } => Some(Cost {
                expected: Duration::from_secs_f64(s),
                class: source as u8,
                ..Cost::default()
            }),
        };
        let counted = self.counted();
        self.figures[source].offered += items;
        match self.policy.admit(&vec![cost; items], &request, Duration::ZERO, now) {
            Ok(admitted) => {
                let id = RequestId(admitted.start);
                if counted {
                    self.figures[source].admitted += items;
                }
                let waiting = Waiting {
                    source,
                    connection,
                    arrived: self.now_ns,
                    deadline,
                    left: items,
                    items,
                };
                self.requests.insert(id, waiting);
                for item in admitted.map(ItemId) {
                    self.request_of.insert(item, id);
                    let s = self.decode_s(decode);
                    self.decode_ns.insert(item, nanos(s));
                }
                if let Some(ns) = deadline {
                    self.at(ns, Event::Deadline(id));
                }
            }
            Err(_) => {
                if counted {
                    self.figures[source].refused += items;
                }
                if let (true, Arrivals::Closed { retry_s, .. }) = (connection, arrivals) {
                    self.later(retry_s, Event::Arrive { source, connection });
                }
            }
        }
    }

    fn work(&mut self) {
        while !self.wide && self.busy < self.scenario.workers {
            let now = self.time(self.now_ns);
            let (decision, dropped) = self.policy.decide(now);
            for (request, left) in dropped {
                self.give_up(request, &left);
            }
            match decision {
                Decision::Prepare(item) => {
                    self.busy += 1;
                    let ns = self.decode_ns.remove(&item).unwrap_or(0);
                    self.busy_ns += ns;
                    self.at(self.now_ns + ns, Event::Prepared(item));
                }
                Decision::Run(width, items) => self.start(width, items),
                Decision::Wait(Some(until)) => {
                    let ns = until.duration_since(self.start).as_nanos() as u64;
                    self.at(ns.max(self.now_ns + 1), Event::Wake);
                    break;
                }
                Decision::Wait(None) => break,
            }
        }
    }

    fn start(&mut self, width: Width, items: Vec<ItemId>) {
        let share = 1.0 + self.scenario.batch_share * (items.len() as f64 - 1.0);
        let mut s = self.scenario.service_s * share * self.noise();
        if let Some((from_s, factor)) = self.scenario.slower
            && self.now_ns > nanos(from_s)
        {
            s *= factor;
        }
        let width_wide = width == Width::Wide;
        let cores = if width_wide { self.scenario.workers } else { 1 };
        if width_wide {
            s /= self.scenario.workers as f64 * WIDE_EFFICIENCY;
            self.wide = true;
        }
        self.busy += cores;
        self.busy_ns += nanos(s) * cores as u64;
        let (first, count) = (items[0], items.len());
        self.runs.insert(first, items);
        self.later(
            s,
            Event::Ran {
                width_wide,
                first,
                items: count,
            },
        );
    }

    fn end(&mut self, item: ItemId, ran: bool) {
        let Some(request) = self.request_of.remove(&item) else {
            return;
        };
        let Some(waiting) = self.requests.get_mut(&request) else {
            return;
        };
        waiting.left -= 1;
        if waiting.left == 0
            && let Some(waiting) = self.requests.remove(&request)
        {
            let in_time = ran && waiting.deadline.is_none_or(|deadline| self.now_ns <= deadline);
            self.count(&waiting, in_time);
        }
    }

    fn give_up(&mut self, request: RequestId, left: &[ItemId]) {
        for item in left {
            self.request_of.remove(item);
        }
        if let Some(waiting) = self.requests.remove(&request) {
            self.count(&waiting, false);
        }
    }

    fn count(&mut self, waiting: &Waiting, in_time: bool) {
        if self.counted() {
            let figures = &mut self.figures[waiting.source];
            if in_time {
                figures.in_time += waiting.items;
                figures.took_s.push((self.now_ns - waiting.arrived) as f64 / 1e9);
            } else {
                figures.late += waiting.items;
            }
        }
        if let (true, Arrivals::Closed { pause_s, .. }) =
            (waiting.connection, self.scenario.sources[waiting.source].arrivals)
        {
            let (source, connection) = (waiting.source, true);
            self.later(pause_s, Event::Arrive { source, connection });
        }
    }

    fn counted(&self) -> bool {
        self.now_ns >= nanos(self.scenario.settle_s)
    }

    fn decode_s(&mut self, decode: Decode) -> f64 {
        match decode {
            Decode::None => 0.0,
            Decode::Expected { s } => s * self.noise(),
            Decode::HeavyTail { s, exponent } => {
                let least = s * (exponent - 1.0) / exponent;
                least * (1.0 - self.random.f64()).powf(-1.0 / exponent)
            }
        }
    }

    fn noise(&mut self) -> f64 {
        self.scenario.noise(&mut self.random)
    }
}

fn nanos(s: f64) -> u64 {
    (s * 1e9) as u64
}
