//! What holds: every probe in every environment, as a matrix.

pub(crate) mod expected;
pub(crate) mod facts;
mod host;
mod matrix;
pub(crate) mod probes;
mod shown;

pub(crate) use host::victim;

use crate::Options;
use crate::environments::{self, Environment};
use crate::place::Place;
use crate::report::Section;
use crate::report::progress::Progress;
use crate::testhost;
use anyhow::Result;
use host::Host;
use matrix::{Matrix, Verdict, fill};
use probes::Probe;

/// The matrix as a part of the report.
pub(crate) fn section(options: &Options, place: &Place) -> Result<Section> {
    let environments = environments::all(&options.runtimes);
    let (dangerous, harmless): (Vec<&Probe>, Vec<&Probe>) = probes::all()
        .into_iter()
        .partition(|probe| probe.group.is_dangerous() && !options.dangerous_here);
    let mut here = fill_here(place, &environments, &harmless)?;
    let elsewhere: Vec<&Probe> = probes::all()
        .into_iter()
        .filter(|probe| !here.answered(probe.name))
        .collect();
    let progress = Progress::spinner("what is dangerous here, in the test host");
    let mut words = vec!["cells"];
    words.extend(elsewhere.iter().map(|probe| probe.name));
    if options.quick {
        words.push("--quick");
    }
    let there: Result<Matrix> = testhost::ask(&options.runtimes, &[], &words);
    progress.finish();
    let there = match there {
        Ok(there) => {
            here.verdicts.retain(|it| !there.answered(&it.probe));
            there
        }
        Err(why) => not_asked(&environments, &dangerous, &format!("{why:#}")),
    };
    Ok(shown::section(&environments, &here, &there))
}

/// What is not as it must be, in a section that [`section`] has made.
pub(crate) fn surprises(section: &Section) -> Vec<String> {
    let verdicts: Vec<Verdict> =
        serde_json::from_value(section.value["verdicts"].clone()).unwrap_or_default();
    let probes = probes::all();
    let mut surprises = expected::surprises(&verdicts);
    // Without the test host there are rows that nobody was asked.
    if section.value["kernels"]["test host"] != "" {
        surprises.extend(expected::blind(&verdicts, &probes));
    }
    surprises.extend(expected::unexplained(&probes));
    surprises
}

/// `bench cells PROBE...`: these rows on this machine, as JSON.
pub(crate) fn cells(options: &Options, place: &Place, names: &[String]) -> Result<()> {
    let mut environments = environments::all(&options.runtimes);
    if options.quick {
        // The machine is emulated: what is not asserted waits for a full run.
        environments.retain(Environment::is_essential);
    }
    let probes: Vec<&Probe> = probes::all()
        .into_iter()
        .filter(|probe| names.iter().any(|name| name == probe.name))
        .collect();
    let matrix = fill_here(place, &environments, &probes)?;
    println!("{}", serde_json::to_string(&matrix)?);
    Ok(())
}

fn fill_here(place: &Place, environments: &[Environment], probes: &[&Probe]) -> Result<Matrix> {
    let mut host = Host::new(place)?;
    let progress = Progress::bar("probes", environments.len() * probes.len());
    let matrix = fill(
        place,
        &mut host,
        environments,
        probes,
        |environment, probe| {
            progress.step(&format!("{probe} in {environment}"));
        },
    );
    progress.finish();
    matrix
}

/// The rows that could not be asked, with the reason in each cell.
fn not_asked(environments: &[Environment], probes: &[&Probe], why: &str) -> Matrix {
    let verdicts = environments
        .iter()
        .flat_map(|environment| {
            probes.iter().map(|probe| Verdict {
                probe: probe.name.into(),
                environment: environment.name.clone(),
                finding: facts::Finding::not_applicable(format!(
                    "dangerous here, and there is no test host: {why}"
                )),
            })
        })
        .collect();
    Matrix {
        kernel: String::new(),
        verdicts,
    }
}
