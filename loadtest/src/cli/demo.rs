//! `demo`: what a mirror is good for, in under a minute and without a network.

use std::fs;
use std::io;
use std::path::PathBuf;

use forebay_loadtest::measure::raise_descriptors;
use forebay_loadtest::scenario::{BUILTIN, Stage};

use super::interrupts::Interrupts;
use super::run;

/// Show what forebay saves a fleet: an upstream, a forebay and 200 clients, all on this machine
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The forebay to start [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    forebay: Option<PathBuf>,
    /// Write index.html and outcome.json into this directory
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

impl Args {
    pub(super) async fn run(self) -> io::Result<()> {
        let program = run::program(self.forebay.as_deref())?;
        let demo = BUILTIN.iter().find(|builtin| builtin.name == "demo");
        let scenario = demo.expect("it is built in").scenario();
        raise_descriptors();
        println!("{}\n", scenario.about);
        let stage = Stage::with_program(&scenario, &program, None).await?;
        let outcome = run::played(&scenario, stage, &mut Interrupts::listen()?).await?;
        for section in outcome.in_short() {
            println!("{}", section.to_text());
        }
        if let Some(dir) = &self.report {
            fs::create_dir_all(dir)?;
            let page = dir.join("index.html");
            run::write(&page, &outcome.report().html())?;
            run::write_json(&outcome, &dir.join("outcome.json"))?;
            println!("all of it, with plots: {}", page.display());
        }
        run::verdict(outcome.broken())
    }
}
