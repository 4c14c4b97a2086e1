//! Moving slots from one primary to another: key by key, half way, or atomically.

use anyhow::{Context as _, Result, bail};

use super::{AGREE, Cluster, topology};
use crate::server::Server;
use crate::wait::until;

/// Keys asked for and sent at a time.
const BATCH: usize = 100;

impl Cluster {
    /// Moves a slot key by key, as cluster tools do, and waits until all nodes know the new owner.
    ///
    /// # Errors
    ///
    /// When `from` does not own the slot, or a node refuses a step.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        self.begin_move(slot, from, to).await?;
        while self.migrate_keys(slot, from, to, BATCH).await? > 0 {}
        self.end_move(slot, from, to).await
    }

    /// The first step of [`move_slot`](Self::move_slot): marks the slot as migrating and importing. From here
    /// on, keys that are missing on `from` are answered by `ASK`, and mixed lists of keys by `TRYAGAIN`.
    ///
    /// # Errors
    ///
    /// When `from` does not own the slot.
    pub async fn begin_move(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        self.set_slot(to, slot, "IMPORTING", from).await?;
        self.set_slot(from, slot, "MIGRATING", to).await
    }

    /// Marks a slot on `node`, once the node knows who owns it: what it heard last of a slot that has just
    /// moved may be older than what it was told.
    async fn set_slot(&self, node: usize, slot: u16, mark: &str, other: usize) -> Result<()> {
        let slot = slot.to_string();
        until(AGREE, "the node to know who owns the slot", || async {
            match self
                .node(node)
                .call(&["CLUSTER", "SETSLOT", &slot, mark, self.id(other)])
                .await
            {
                Ok(_) => Ok(Some(())),
                Err(error) if error.to_string().contains("the owner of hash slot") => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// The second step, once: sends at most `limit` keys of the slot over. Returns how many went. Call it
    /// less often than it takes to leave the move half way.
    ///
    /// # Errors
    ///
    /// When a node refuses.
    pub async fn migrate_keys(&self, slot: u16, from: usize, to: usize, limit: usize) -> Result<usize> {
        let mut source = self.node(from).connect().await?;
        let keys = source
            .call(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &limit.to_string()])
            .await?;
        if keys.items().is_empty() {
            return Ok(0);
        }
        let target = self.node(to);
        let mut command: Vec<Vec<u8>> = [
            "MIGRATE",
            &target.host().to_string(),
            &target.port().to_string(),
            "",
            "0",
            "5000",
        ]
        .iter()
        .map(|word| word.as_bytes().to_vec())
        .collect();
        if let Some([user, password]) = target.options().peer_login() {
            command.extend(["AUTH2", user, password].map(|word| word.as_bytes().to_vec()));
        }
        command.push(b"KEYS".to_vec());
        for key in keys.items() {
            let crate::Reply::Bulk(key) = key else {
                bail!("a key is no byte string")
            };
            command.push(key.clone());
        }
        source.call(&command).await?;
        Ok(keys.items().len())
    }

    /// The last step: gives the slot to `to` and waits until all nodes know.
    ///
    /// # Errors
    ///
    /// When keys are left on `from`, or the nodes do not come to agree.
    pub async fn end_move(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        for node in [to, from] {
            self.give_slot(node, slot, to).await?;
        }
        // The others are told, too, as cluster tools do, and told again while they do not know: where slots
        // move to and fro within moments, what they hear from the two may be out of date and stay so.
        // Replicas refuse, and hear it from their primaries.
        until(AGREE, "all nodes to know the slot's new owner", || async {
            let mut agreed = true;
            for (index, node) in self.nodes().iter().enumerate() {
                if !self.knows_owner(node, slot, to).await? {
                    agreed = false;
                    let _ = self.give_slot(index, slot, to).await;
                }
            }
            Ok(agreed.then_some(()))
        })
        .await?;
        // A node that has not heard of the epoch of this move would reuse it for the next one, and of two
        // owners with one epoch the wrong one may win.
        until(AGREE, "all nodes to know the epoch of the move", || async {
            let mut epochs = Vec::new();
            for node in self.nodes() {
                let info = node.call(&["CLUSTER", "INFO"]).await?.text();
                let epoch = info
                    .lines()
                    .find(|line| line.starts_with("cluster_current_epoch:"));
                epochs.push(epoch.map(str::to_owned));
            }
            Ok(epochs.iter().all(|epoch| *epoch == epochs[0]).then_some(()))
        })
        .await
    }

    /// Tells one node who owns a slot.
    async fn give_slot(&self, node: usize, slot: u16, owner: usize) -> Result<()> {
        let owner = self.id(owner);
        let command = ["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", owner];
        self.node(node).call(&command).await.map(drop)
    }

    /// Moves the slots `first` to `last` in one step (`CLUSTER MIGRATESLOTS`, Valkey 9) and waits until all
    /// nodes know the new owner. Clients never see `ASK`.
    ///
    /// # Errors
    ///
    /// On older servers, when `from` does not own the slots, or the migration fails.
    pub async fn move_slots_atomically(&self, first: u16, last: u16, from: usize, to: usize) -> Result<()> {
        let (start, end) = (first.to_string(), last.to_string());
        let source = self.node(from);
        source
            .call(&[
                "CLUSTER",
                "MIGRATESLOTS",
                "SLOTSRANGE",
                &start,
                &end,
                "NODE",
                self.id(to),
            ])
            .await?;
        let range = format!("{start}-{end}");
        let outcome = until(AGREE, "the slot migration to end", || async {
            let jobs = source.call(&["CLUSTER", "GETSLOTMIGRATIONS"]).await?;
            // The latest job stands first.
            let job = jobs
                .items()
                .iter()
                .find(|job| job.field("slot_ranges").as_ref() == Some(&range));
            let state = job
                .and_then(|job| job.field("state"))
                .context("no such slot migration")?;
            Ok(matches!(state.as_str(), "success" | "failed" | "cancelled").then_some(state))
        })
        .await?;
        if outcome != "success" {
            bail!("the slot migration ended as {outcome}");
        }
        self.wait_for_owner(first, to).await
    }

    async fn wait_for_owner(&self, slot: u16, owner: usize) -> Result<()> {
        until(AGREE, "all nodes to know the slot's new owner", || async {
            for node in self.nodes() {
                if !self.knows_owner(node, slot, owner).await? {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    async fn knows_owner(&self, node: &Server, slot: u16, owner: usize) -> Result<bool> {
        let topology = topology::of(node).await?;
        Ok(topology
            .owner(slot)
            .is_some_and(|member| member.id == self.id(owner)))
    }
}
