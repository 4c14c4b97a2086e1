//! The governor against a server of which others want something, too, now more and now less.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Governor, Pace};

/// What a call takes without anybody in its way, in milliseconds.
const ROUND_TRIP: f64 = 0.1;

/// What makes calls wait besides ours.
#[derive(Clone, Copy)]
struct Weather {
    /// How likely a call is to wait, and how many milliseconds at most.
    chance: f64,
    worst: f64,
}

const CALM: Weather = Weather {
    chance: 0.02,
    worst: 2.0,
};

/// Processes enough for every processor: a call waits for a slice of time as often as not.
const BUSY: Weather = Weather {
    chance: 0.5,
    worst: 8.0,
};

/// A server that takes its time for every key.
struct Server {
    micros_per_key: f64,
    random: SmallRng,
}

impl Server {
    fn new(micros_per_key: f64, seed: u64) -> Self {
        Self {
            micros_per_key,
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// What a call of `keys` keys takes in it, in milliseconds.
    fn own(&self, keys: u32) -> f64 {
        0.02 + f64::from(keys) * self.micros_per_key / 1e3
    }

    fn wait(&mut self, weather: Weather) -> f64 {
        if self.random.random_bool(weather.chance) {
            self.random.random_range(0.0..weather.worst)
        } else {
            0.0
        }
    }

    /// So many pages at a gentle pace, each a scan and a removal; the keys per call, and the harm that they did,
    /// as a mean of the second half.
    fn run(&mut self, governor: &Governor, weather: Weather, pages: u32) -> (f64, f64) {
        let (mut keys, mut harm, mut counted) = (0.0, 0.0, 0.0);
        for page in 0..pages {
            let count = governor.count();
            let mut work = 0.0;
            for call in [0.3, 1.0] {
                let took = ROUND_TRIP + self.own(count) * call + self.wait(weather);
                work += took;
                if governor.wants_probe() {
                    governor.behind(millis(took));
                }
            }
            if page >= pages / 2 {
                keys += f64::from(count);
                harm += self.own(count);
                counted += 1.0;
            }
            if !governor.rest_after(millis(work)).is_zero() {
                let probes = (0..governor.probes_apart()).map(|_| ROUND_TRIP + self.wait(weather));
                governor.apart(Some(millis(probes.fold(0.0, f64::max))));
            }
        }
        (keys / counted, harm / counted)
    }
}

fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis / 1e3)
}

/// A call of 1,000 keys takes 0.3 ms: nobody notices it, whatever else goes on.
#[test]
fn what_others_do_to_the_server_does_not_slow_a_run_down_that_does_no_harm() {
    for seed in 0..20 {
        let governor = Governor::new(Pace::Gentle, 1_000);
        let mut server = Server::new(0.3, seed);
        let (calm, _) = server.run(&governor, CALM, 2_000);
        let (busy, _) = server.run(&governor, BUSY, 2_000);
        let (again, _) = server.run(&governor, CALM, 2_000);
        assert!(
            calm > 900.0 && again > 900.0,
            "{seed}: {calm:.0}, then {again:.0} keys"
        );
        assert!(busy > 200.0, "{seed}: {busy:.0} keys a call");
    }
}

/// The run begins in the midst of it and goes on when all is quiet: what it met at first is no excuse.
#[test]
fn a_bad_moment_at_the_beginning_does_not_make_a_run_bold() {
    for seed in 0..20 {
        let governor = Governor::new(Pace::Gentle, 1_000);
        let mut server = Server::new(3.0, seed);
        server.run(&governor, BUSY, 200);
        let (keys, harm) = server.run(&governor, CALM, 1_000);
        assert!(harm < 0.6, "{seed}: {harm:.2} ms with {keys:.0} keys");
        assert!(keys > 80.0, "{seed}: {keys:.0} keys a call");
    }
}

/// Harm is told from weather that is many times worse.
#[test]
fn a_run_that_does_harm_takes_less_in_any_weather() {
    for seed in 0..20 {
        for micros_per_key in [2.0, 5.0] {
            let governor = Governor::new(Pace::Gentle, 1_000);
            let mut server = Server::new(micros_per_key, seed);
            server.run(&governor, CALM, 200);
            let (keys, harm) = server.run(&governor, BUSY, 4_000);
            assert!(harm < 1.0, "{seed}: {harm:.2} ms with {keys:.0} keys");
        }
    }
}
