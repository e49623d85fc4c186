//! What a start costs: runtimes beside the least that it can cost.

mod cases;
mod ground;
mod growth;
mod shown;
mod step;
mod there;
mod trial;
mod weight;

use crate::Options;
use crate::place::Place;
use crate::report::Section;
use crate::sys;
use anyhow::Result;
use cases::{Extent, Measured};
use ground::Ground;
use growth::Growth;
use nix::sys::prctl::set_child_subreaper;
use std::path::Path;
use trial::Subject;

/// All that was measured.
struct Results {
    alone: Vec<Measured>,
    together: Vec<Measured>,
    beside: Growth,
    mounts: Growth,
    mount: Measured,
    weights: Vec<Measured>,
    there: Vec<Measured>,
    real_time: bool,
}

/// All starts as a part of the report.
pub(crate) fn section(options: &Options, place: &Place) -> Result<Section> {
    let floor = place.join("floor");
    ground::build_floor(&floor)?;
    let subjects = Subject::all(&options.runtimes);
    let extent = extent(options);
    // Containers whose runtime has ended are waited for here, whatever process 1 does.
    set_child_subreaper(true)?;
    let ground = Ground::prepare(place, &floor, &options.runtimes)?;
    let real_time = sys::set_real_time(Some(1)).is_ok();
    let alone = cases::alone(&ground, &subjects, extent);
    let together = cases::together(&ground, &subjects, extent);
    let (mounts, mount) = growth::mounts(&ground, &subjects, extent);
    let weights = weight::weigh(&ground, &subjects, extent);
    let beside = growth::beside(&ground, &subjects, extent);
    let _ = sys::set_real_time(None);
    drop(ground);
    trial::end_orphans();
    set_child_subreaper(false)?;
    let results = Results {
        alone,
        together,
        beside,
        mounts,
        mount,
        weights,
        there: there::ask(&options.runtimes, &floor, extent),
        real_time,
    };
    Ok(shown::section(&subjects, &results))
}

/// What casulo, or the floor, did not do, in a section that [`section`] has made.
pub(crate) fn surprises(section: &Section) -> Vec<String> {
    let rows = ["alone", "at once", "weights", "test host"].into_iter();
    let rows = rows.flat_map(|key| {
        let value = section.value[key].clone();
        serde_json::from_value::<Vec<Measured>>(value).unwrap_or_default()
    });
    rows.flat_map(|row| {
        let figures = row.figures.into_iter();
        let ours = figures.filter(|it| it.name == "casulo" || it.name == Subject::FLOOR);
        let failures = ours.flat_map(|it| it.failures);
        failures
            .filter(|why| !why.starts_with(there::MISSING))
            .map(move |why| format!("{}: {why}", row.title))
            .collect::<Vec<_>>()
    })
    .collect()
}

/// `bench starts`: what is asked in the test host, as JSON; the floor is beside this program.
pub(crate) fn starts(options: &Options, place: &Place) -> Result<()> {
    set_child_subreaper(true)?;
    let ground = Ground::prepare(place, Path::new("floor"), &options.runtimes)?;
    let _ = sys::set_real_time(Some(1));
    let subjects = Subject::all(&options.runtimes);
    let measured = there::answer(&ground, &subjects, extent(options));
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

fn extent(options: &Options) -> Extent {
    if options.quick {
        Extent::Quick
    } else {
        Extent::Full
    }
}
