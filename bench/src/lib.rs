//! What the benchmarks share: what they ran on, how figures are read and written.

use std::path::Path;
use std::time::Instant;

/// Figures of one kind, sorted.
#[derive(Debug)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Sorts them.
    pub fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    /// The figure below which this share of them lies. NaN where there are none.
    pub fn at(&self, share: f64) -> f64 {
        let at = (self.0.len() as f64 * share) as usize;
        self.0.get(at.min(self.0.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The middle, the 99th in a hundred and the largest, in milliseconds.
    pub fn line(&self) -> String {
        format!("p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", self.at(0.5), self.at(0.99), self.at(1.0))
    }
}

/// Writes a small table: what was measured, and how much it was.
pub fn table(title: &str, rows: &[(&str, String)]) {
    let width = rows.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    anstream::println!("{title}");
    for (what, much) in rows {
        anstream::println!("  {what:width$}  {much}");
    }
}

/// The machine: its processor, how many of them, and how busy they are with other things.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(" : unknown");
    let model = model.rsplit_once(": ").map_or("unknown", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!("{cores} cores ({model}), load {load} before")
}

/// What one synchronisation of a file costs in this folder: it bounds what a durable commit can cost. Milliseconds.
///
/// # Errors
/// Where the folder cannot be written to.
pub fn synchronisation(folder: &Path) -> std::io::Result<Figures> {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(folder)?;
    let mut taken = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        taken.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Figures::new(taken))
}

/// Processor seconds so far of a process and of its descendants that have ended and been waited for.
///
/// # Errors
/// Where there is no such process.
pub fn cpu_seconds(pid: u32) -> std::io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    // Of what follows the name: utime, stime, cutime, cstime, in clock ticks.
    let ticks: u64 = after_name.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Processor seconds so far of a process and of all its descendants, those that still live included.
///
/// # Errors
/// Where there is no such process.
pub fn cpu_seconds_of_tree(pid: u32) -> std::io::Result<f64> {
    let mut parents = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (child, parent)));
    }
    let is_below = |of: u32| {
        std::iter::successors(Some(of), |at| parents.get(at).copied().filter(|at| *at > 1)).skip(1).any(|at| at == pid)
    };
    // One that ends meanwhile is counted by whoever waits for it.
    let below = parents.keys().filter(|child| is_below(**child)).filter_map(|child| cpu_seconds(*child).ok());
    Ok(cpu_seconds(pid)? + below.sum::<f64>())
}

/// The resident memory of a process, in MiB.
///
/// # Errors
/// Where there is no such process.
pub fn resident_mib(pid: u32) -> std::io::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kib.unwrap_or(f64::NAN) / 1024.0)
}
