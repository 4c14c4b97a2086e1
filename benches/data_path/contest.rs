//! Connects the contenders and lets them take turns.

use anyhow::Result;

use crate::arguments::{Arguments, Name, Operation, Servers};
use crate::contender::Measured;
use crate::ours;
use crate::peers::{Checkout, Fred, Redis, Rustis};
use crate::results::Results;

/// Contenders that are connected to the same servers.
pub(crate) struct Contest {
    servers: Servers,
    contenders: Vec<(Name, Box<dyn Measured>)>,
    /// What `cache-stack` consists of.
    pub(crate) stack: String,
}

impl Contest {
    /// Connects the chosen contenders to the server, or to the cluster of the server, at `address`.
    pub(crate) async fn connect(servers: Servers, address: &str, arguments: &Arguments) -> Result<Self> {
        let redis: Box<dyn Measured> = match servers {
            Servers::Single => Box::new(Redis::single(address).await?),
            Servers::Cluster => Box::new(Redis::cluster(address).await?),
        };
        let fred = Fred::connect(servers, address).await?;
        let rustis = Rustis::connect(servers, address).await?;
        let (stack, description) = ours::stack(servers, address).await?;
        let bare = ours::bare(servers, address).await?;
        let mut contenders: Vec<(Name, Box<dyn Measured>)> = vec![
            (Name::Redis, redis),
            (Name::Fred, Box::new(fred)),
            (Name::Rustis, Box::new(rustis)),
            (Name::Stack, Box::new(stack)),
            (Name::Bare, Box::new(bare)),
        ];
        if servers == Servers::Single {
            contenders.push((Name::Deadpool, Box::new(Checkout::connect(address)?)));
        }
        contenders.retain(|(name, _)| arguments.takes_contender(*name));
        Ok(Self {
            servers,
            contenders,
            stack: description,
        })
    }

    /// Measures `operation` at every number of tasks. In each round all contenders take turns at one number of tasks
    /// before the next number comes; the first contender changes each time.
    pub(crate) async fn hold(&self, operation: Operation, arguments: &Arguments) -> Results {
        let options = arguments.options();
        let mut results = Results::new(format!("{}, {operation}", self.servers));
        for round in 0..options.rounds {
            for (point, tasks) in arguments.tasks().into_iter().enumerate() {
                for turn in 0..self.contenders.len() {
                    let (name, contender) = &self.contenders[(round + point + turn) % self.contenders.len()];
                    let sample = contender.measure(operation, tasks, options.slice).await;
                    results.add(tasks, *name, sample);
                }
            }
        }
        results
    }
}
