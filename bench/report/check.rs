//! `bench check-page DIR`: opens the page in headless Chromium, in light and in dark, and compares what
//! is on the screenshot with what is in the page: no message in the console, every chart drawn, every
//! cell of the matrix in its colour and with its evidence behind it.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Output};

/// Added to a copy of the page: says where everything is, and what it should look like.
const SURVEY: &str = include_str!("survey.html");

const WIDTH: u32 = 1800;

/// What the survey says.
#[derive(Deserialize)]
struct Survey {
    height: u32,
    background: [u8; 3],
    charts: Vec<Chart>,
    cells: Vec<Cell>,
    /// A click on a cell shows its evidence.
    opens: bool,
    /// What the page loads from elsewhere.
    loads: Vec<String>,
}

#[derive(Deserialize)]
struct Chart {
    id: String,
    at: Rectangle,
    marks: usize,
}

#[derive(Deserialize)]
struct Cell {
    mark: String,
    at: Rectangle,
    colour: [u8; 3],
    evidence: bool,
}

#[derive(Clone, Copy, Deserialize)]
struct Rectangle {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

/// What is wrong with the page; nothing is good. Leaves both screenshots beside it.
pub(crate) fn page(dir: &Path) -> Result<Vec<String>> {
    let numbers: Value = serde_json::from_slice(&fs::read(dir.join("bench.json"))?)?;
    let page = std::path::absolute(dir.join("bench.html"))?;
    let mut wrong = Vec::new();
    for (scheme, setting) in [("light", 1), ("dark", 0)] {
        let browser = Browser {
            profile: tempfile::tempdir()?,
            setting,
        };
        let picture = page.with_file_name(format!("bench-{scheme}.png"));
        let survey = browser.survey(&page, &mut wrong)?;
        browser.screenshot(&page, &picture, survey.height)?;
        let pixels = Pixels::read(&picture)?;
        let problems = compare(&survey, &pixels, &numbers, scheme);
        wrong.extend(problems.into_iter().map(|it| format!("{scheme}: {it}")));
    }
    Ok(wrong)
}

struct Browser {
    profile: tempfile::TempDir,
    /// Blink's number of a colour scheme.
    setting: u8,
}

impl Browser {
    fn run(&self, page: &Path, options: &[String]) -> Result<Output> {
        let output = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
            ])
            .args(["--enable-logging=stderr", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", self.profile.path().display()))
            .arg(format!(
                "--blink-settings=preferredColorScheme={}",
                self.setting
            ))
            .args(options)
            .arg(format!("file://{}", page.display()))
            .output()?;
        if output.status.success() {
            Ok(output)
        } else {
            bail!("chromium: {}", output.status)
        }
    }

    fn survey(&self, page: &Path, wrong: &mut Vec<String>) -> Result<Survey> {
        let surveyed = self.profile.path().join("surveyed.html");
        fs::write(&surveyed, fs::read_to_string(page)? + SURVEY)?;
        let options = ["--dump-dom".into(), format!("--window-size={WIDTH},1000")];
        let output = self.run(&surveyed, &options)?;
        let log = String::from_utf8_lossy(&output.stderr);
        wrong.extend(
            log.lines()
                .filter(|line| line.contains("CONSOLE"))
                .map(str::to_owned),
        );
        let dom = String::from_utf8_lossy(&output.stdout);
        let survey = dom
            .split_once("<script type=\"application/json\" id=\"survey\">")
            .and_then(|(_, rest)| rest.split_once("</script>"))
            .context("the survey did not run")?;
        Ok(serde_json::from_str(survey.0)?)
    }

    fn screenshot(&self, page: &Path, picture: &Path, height: u32) -> Result<()> {
        let options = [
            format!("--screenshot={}", picture.display()),
            format!("--window-size={WIDTH},{height}"),
        ];
        self.run(page, &options).map(drop)
    }
}

/// A screenshot.
struct Pixels {
    width: u32,
    height: u32,
    /// How many bytes a pixel has: three colours, and perhaps how opaque it is.
    step: usize,
    bytes: Vec<u8>,
}

impl Pixels {
    fn read(picture: &Path) -> Result<Pixels> {
        let decoder = png::Decoder::new(BufReader::new(File::open(picture)?));
        let mut reader = decoder.read_info()?;
        let size = reader.output_buffer_size().unwrap_or_default();
        let mut bytes = vec![0; size];
        let info = reader.next_frame(&mut bytes)?;
        Ok(Pixels {
            width: info.width,
            height: info.height,
            step: info.color_type.samples(),
            bytes,
        })
    }

    fn at(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let index = usize::try_from(u64::from(y) * u64::from(self.width) + u64::from(x)).ok()?;
        self.bytes.get(index * self.step..)?.first_chunk().copied()
    }

    fn colours(&self, place: Rectangle) -> usize {
        let rows = place.top..place.top + place.height;
        let pixels = rows.flat_map(|y| (place.left..place.left + place.width).map(move |x| (x, y)));
        let colours: HashSet<_> = pixels.filter_map(|(x, y)| self.at(x, y)).collect();
        colours.len()
    }
}

fn compare(survey: &Survey, pixels: &Pixels, numbers: &Value, scheme: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !survey.loads.is_empty() {
        wrong.push(format!("the page loads {:?}", survey.loads));
    }
    let sum: u32 = survey.background.iter().map(|it| u32::from(*it)).sum();
    if (sum > 384) != (scheme == "light") {
        wrong.push(format!("the paper is {:?}", survey.background));
    }
    if pixels.at(2, 2) != Some(survey.background) {
        wrong.push(format!(
            "the paper is {:?} on the screenshot",
            pixels.at(2, 2)
        ));
    }
    let wanted: Vec<&str> = numbers["charts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let found: Vec<&str> = survey.charts.iter().map(|it| it.id.as_str()).collect();
    if wanted != found {
        wrong.push(format!("the charts are {found:?}, not {wanted:?}"));
    }
    for chart in &survey.charts {
        let colours = pixels.colours(chart.at);
        // Paper, axis, text, marks, and what is between them where edges are smoothed.
        if chart.marks == 0 || colours < 10 {
            let (id, marks) = (&chart.id, chart.marks);
            wrong.push(format!(
                "chart {id} has {marks} marks and {colours} colours"
            ));
        }
    }
    let isolation = &numbers["sections"]["isolation"];
    let count = |key: &str| isolation[key].as_array().map_or(0, Vec::len);
    // The last row has the sums.
    let cells = match count("probes") {
        0 => 0,
        probes => (probes + 1) * count("environments"),
    };
    if survey.cells.len() != cells {
        wrong.push(format!("{} cells, not {cells}", survey.cells.len()));
    }
    for (index, cell) in survey.cells.iter().enumerate() {
        // Inside the round corner, above the sign.
        let seen = pixels.at(cell.at.left + 4, cell.at.top + 4);
        if cell.mark != "plain" && seen != Some(cell.colour) {
            wrong.push(format!("cell {index} is {seen:?}, not {:?}", cell.colour));
        }
        if !cell.evidence {
            wrong.push(format!("cell {index} has no evidence"));
        }
    }
    if !survey.opens && cells > 0 {
        wrong.push("a click on a cell does not show its evidence".into());
    }
    wrong
}
