//! `cargo xtask soak`: one Channel through two sidecars at a steady pace for as long as is asked, with the messages of a
//! day at ten thousand a second in twenty minutes. Nothing may be lost or come out of order, and the sidecars may not
//! grow. Last line one JSON object.

mod judge;
mod sample;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use self::judge::{Ledger, Sample, Side};
use crate::bench::channel::{GivenPrograms, Local, Programs, value};
use crate::cache::{CacheArgs, remove_folder};
use crate::process::Process;
use crate::wait::{self, Stopwatch};

/// How long, how fast, and of which program.
#[derive(Args)]
pub(crate) struct SoakArgs {
    /// How long messages flow.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
    /// Messages of 100 bytes a second; the default makes 864 million in twenty minutes, those of a day at 10 000/s.
    #[arg(long, value_name = "MESSAGES", default_value_t = 720_000, value_parser = clap::value_parser!(u32).range(1..))]
    per_second: u32,
    #[command(flatten)]
    programs: GivenPrograms,
    #[command(flatten)]
    cache: CacheArgs,
}

impl SoakArgs {
    fn messages_wanted(&self) -> f64 {
        f64::from(self.per_second) * 60.0 * f64::from(self.minutes)
    }
}

const BYTES: u32 = 100;
/// Time between two looks at the sidecars; shorter where so few would be too few.
const PERIOD_MAX: Duration = Duration::from_secs(10);
const SAMPLES_MIN: u32 = 24;
/// Until the first message has arrived.
const START_LIMIT: Duration = Duration::from_secs(60);
/// For what is on its way when the time is over, and for the start.
const GRACE: Duration = Duration::from_secs(120);

/// Runs it, and says whether all went well.
pub(crate) fn run(root: &Path, args: &SoakArgs) -> Result<()> {
    let programs = Programs::prepare(root, &args.cache.open()?, &args.programs)?;
    let folder = std::env::temp_dir().join(format!("pinnace-soak-{}", std::process::id()));
    remove_folder(&folder)?;
    let local = Local::start(&programs, &folder.join("local"))?;
    let soaked = soak(&programs.load, &local, &folder, args);
    let soaked = soaked.with_context(|| format!("what the programs printed is in {}", folder.display()))?;
    local.end()?;
    remove_folder(&folder)?;
    let reasons = judge::judge(&soaked.ledger, &soaked.sides);
    println!("{}", tell(args, &soaked, &reasons));
    if reasons.is_empty() { Ok(()) } else { bail!("the soak failed: {}", reasons.join("; ")) }
}

/// What came of it.
struct Soaked {
    ledger: Ledger,
    sides: [Side; 2],
    sending_seconds: f64,
    sidecars_cpu_seconds: f64,
}

fn soak(load: &Path, local: &Local, folder: &Path, args: &SoakArgs) -> Result<Soaked> {
    let length = Duration::from_secs(60 * u64::from(args.minutes));
    let start = |identity: &str, role: &str, places: &[String]| {
        let mut command = local.run(identity, load);
        command.args([role, "zmtp", "pattern=pubsub"]).args(places);
        command.arg(format!("bytes={BYTES}")).arg(format!("folder={}", folder.display()));
        command.arg(format!("count={}", u64::from(args.per_second) * length.as_secs()));
        command.arg(format!("life={}", (length + 2 * GRACE).as_secs()));
        Process::start(role, command, folder)
    };
    let mut subscriber = start("subscriber", "subscribe", &["in=sidecar:ping".to_owned()])?;
    let pace = [
        "out=sidecar:ping".to_owned(),
        format!("pace={}", args.per_second),
        format!("seconds={}", length.as_secs()),
    ];
    let mut publisher = start("publisher", "publish", &pace)?;
    wait::until("the first message", START_LIMIT, || {
        publisher.runs()?;
        subscriber.runs()?;
        Ok(folder.join("ready-0").is_file().then_some(()))
    })?;
    let period = PERIOD_MAX.min(length / SAMPLES_MIN);
    let mut sides = [Side::of("publisher"), Side::of("subscriber")];
    let processes = [sample::sidecar_of(publisher.id())?, sample::sidecar_of(subscriber.id())?];
    let clock = Stopwatch::start();
    // The last look is before the end, while messages flow.
    while clock.elapsed() + period < length && !publisher.has_ended()? {
        wait::rest(period);
        subscriber.runs()?;
        for (side, process) in sides.iter_mut().zip(processes) {
            let sample = sample::look(process)?;
            print_sample(&clock, side.name, &sample);
            side.samples.push(sample);
        }
    }
    let sent = publisher.finish_within(length.saturating_sub(clock.elapsed()) + GRACE)?;
    let received = subscriber.finish_within(GRACE)?;
    let both = [&sent, &received];
    Ok(Soaked {
        ledger: Ledger {
            wanted: args.messages_wanted(),
            sent: value(&sent, "sent")?,
            received: value(&received, "received")?,
            disordered: value(&received, "disordered")?,
        },
        sides,
        sending_seconds: value(&sent, "sending_seconds")?,
        sidecars_cpu_seconds: both
            .iter()
            .map(|text| value(text, "beside_cpu_seconds"))
            .sum::<Result<f64>>()?,
    })
}

fn print_sample(clock: &Stopwatch, name: &str, sample: &Sample) {
    let (seconds, megabytes) = (clock.elapsed().as_secs(), sample.resident_megabytes());
    println!("{seconds:6} s  {name:10} {megabytes:6.2} MB resident, {} descriptors", sample.descriptors);
}

/// The one line that is for programs.
fn tell(args: &SoakArgs, soaked: &Soaked, reasons: &[String]) -> serde_json::Value {
    let Ledger { wanted, sent, received, disordered } = soaked.ledger;
    let sides: serde_json::Map<String, serde_json::Value> =
        soaked.sides.iter().map(|side| (side.name.to_owned(), side.tell())).collect();
    json!({"soak": {
        "passed": reasons.is_empty(),
        "reasons": reasons,
        "minutes": args.minutes,
        "per_second_wanted": args.per_second,
        "messages_wanted": wanted,
        "messages_sent": sent,
        "messages_received": received,
        "messages_lost": sent - received,
        "messages_disordered": disordered,
        "messages_per_second": sent / soaked.sending_seconds,
        "sidecars_cpu_microseconds": soaked.sidecars_cpu_seconds * 1e6 / sent,
        "sidecars": sides,
    }})
}
