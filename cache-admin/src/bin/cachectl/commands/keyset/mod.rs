//! `cachectl keyset`: keysets of encryption, in files and in AWS.
//!
//! Where a keyset is, is in [`place`]; how one is shown, in [`show`]. What is safe at which time is the library's
//! work: [`cache_admin::keysets`].

#[cfg(feature = "aws")]
mod aws;
mod change;
mod create;
mod info;
mod place;
mod rewrap;
mod show;

use std::sync::Arc;
use std::time::Duration;

use cache_admin::keysets::{KeysetAdmin, KeysetChange, RotationSchedule, RotationStep};
use cache_core::CacheError;
use cache_layers::SystemClock;
use cache_layers::keyset::KeysetForm;
use clap::{Args, Subcommand, ValueEnum};

use self::change::How;
use self::place::{Found, Place};
use self::rewrap::Rewrap;
use super::Ended;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Keyset {
    /// Make a keyset with one key
    Create {
        #[command(flatten)]
        place: Place,
        /// The notation; it is encrypted if there is a KMS key
        #[arg(long, value_enum, default_value_t = Notation::Json)]
        form: Notation,
        /// Say what would be done, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Add a key, which opens values and does not seal yet
    Add {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        timing: Timing,
        /// Say what would be done, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make a key the primary, which seals; exit code 5 if it is too early
    Promote(OfKey),
    /// Stop a key from opening values; exit code 5 if it is too early
    Disable(OfKey),
    /// Let a disabled key open values again
    Enable(OfKey),
    /// Remove a disabled key for good; exit code 5 if it is too early
    Delete(OfKey),
    /// The keys: status, age, what comes next; never key material
    Info {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        timing: Timing,
    },
    /// Encrypt the keyset again, under the same or another KMS key, or move it
    Rewrap(Rewrap),
    /// The next step of a rotation: say what it is, and carry it out if it is due
    Rotate {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        timing: Timing,
        /// How long a key seals before the next one is added
        #[arg(long, value_name = "TIME", value_parser = crate::cli::duration, default_value = "90d")]
        every: Duration,
        /// Carry the step out although it is too early
        #[arg(long)]
        force: bool,
        /// Say what would be done, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What commands about one key take.
#[derive(Args, Debug)]
pub(crate) struct OfKey {
    /// The key's id, as `cachectl keyset info` shows it
    id: u32,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    timing: Timing,
    /// Do it although it is too early
    #[arg(long)]
    force: bool,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// What the schedule depends on.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// How often services read the keyset [default: CACHE_ENCRYPTION_REFRESH if the keyset is the configured one,
    /// else 15m]
    #[arg(long, value_name = "TIME", value_parser = crate::cli::duration)]
    refresh: Option<Duration>,
    /// The longest TTL of encrypted values
    #[arg(long, value_name = "TIME", value_parser = crate::cli::duration, default_value = "1h")]
    value_ttl: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Notation {
    Json,
    Binary,
}

impl Notation {
    const fn form(self, is_encrypted: bool) -> KeysetForm {
        match self {
            Self::Json => KeysetForm::Json.with_encryption(is_encrypted),
            Self::Binary => KeysetForm::Binary.with_encryption(is_encrypted),
        }
    }
}

impl Timing {
    fn schedule(self, found: &Found) -> RotationSchedule {
        let schedule = RotationSchedule::default().with_value_ttl(self.value_ttl);
        match self.refresh.or(found.refresh) {
            Some(refresh) => schedule.with_refresh(refresh),
            None => schedule,
        }
    }
}

pub(super) async fn run(keyset: Keyset, output: &mut Output) -> Ended {
    let step = KeysetChange::Step;
    match keyset {
        Keyset::Create { place, form, dry_run } => {
            let found = place.find(output).await?;
            create::run(&found, form, dry_run, output).await
        }
        Keyset::Info { place, timing } => {
            let found = place.find_to_look(output).await?;
            let schedule = timing.schedule(&found);
            let admin = admin(found, schedule);
            info::run(&admin, output).await
        }
        Keyset::Rewrap(rewrap) => rewrap::run(rewrap, output).await,
        Keyset::Add {
            place,
            timing,
            dry_run,
        } => {
            let found = place.find(output).await?;
            let schedule = timing.schedule(&found);
            let admin = admin(found, schedule);
            let how = How {
                force: false,
                dry_run,
            };
            change::run(&admin, step(RotationStep::Add), how, output).await
        }
        Keyset::Promote(of) => of_key(of, |id| step(RotationStep::Promote(id)), output).await,
        Keyset::Disable(of) => of_key(of, |id| step(RotationStep::Disable(id)), output).await,
        Keyset::Delete(of) => of_key(of, |id| step(RotationStep::Delete(id)), output).await,
        Keyset::Enable(of) => of_key(of, KeysetChange::Enable, output).await,
        Keyset::Rotate {
            place,
            timing,
            every,
            force,
            dry_run,
        } => {
            let found = place.find(output).await?;
            let schedule = timing.schedule(&found).with_every(every);
            let admin = admin(found, schedule);
            change::run(&admin, KeysetChange::Next, How { force, dry_run }, output).await
        }
    }
}

async fn of_key(of: OfKey, change: impl FnOnce(u32) -> KeysetChange, output: &mut Output) -> Ended {
    let found = of.place.find(output).await?;
    let schedule = of.timing.schedule(&found);
    let admin = admin(found, schedule);
    let how = How {
        force: of.force,
        dry_run: of.dry_run,
    };
    change::run(&admin, change(of.id), how, output).await
}

fn admin(found: Found, schedule: RotationSchedule) -> KeysetAdmin {
    KeysetAdmin::new(found.store, found.kek, Arc::new(SystemClock)).with_schedule(schedule)
}

/// There is no keyset: said with where it should be.
fn explained(error: CacheError, location: &str) -> Failure {
    match error {
        CacheError::Miss => Failure::Service {
            exit: Exit::False,
            kind: "miss".to_owned(),
            message: format!("there is no keyset at {location}; cachectl keyset create makes one"),
        },
        other => Failure::Cache(other),
    }
}

/// Arguments that do not go together.
fn usage(message: &str) -> Failure {
    Failure::Usage(message.to_owned())
}
