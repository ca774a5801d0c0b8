//! The benchmarks of a sweep: folders, families of folders, and protocols that are built before the runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mkgc_builder::build::{BuildOptions, build, build_orders};
use mkgc_builder::corpus::Extraction;
use mkgc_builder::dataset::{BenchmarkFolder, MANIFEST, Manifest};
use mkgc_builder::files::{parent_folder, sha256_file, sha256_hex};
use mkgc_builder::protocol::{Protocol, SHIPPED};

use super::plan::{BuildEntry, Plan};
use crate::console::note;
use crate::error::{Error, Result};
use crate::files::write_atomically;

/// A benchmark that runs are trained on.
#[derive(Debug, Clone)]
pub(super) struct SweepBenchmark {
    pub name: String,
    pub kind: Extraction,
    pub tasks: usize,
    /// The folder, which exists once the benchmark is built.
    pub folder: PathBuf,
    /// What the benchmark is, whether it is built or not: the fingerprint of a folder, or a hash of what it is built
    /// by.
    pub identity: String,
    /// The manifest, if the folder exists.
    pub manifest: Option<Manifest>,
    build: Option<BuildOptions>,
}

impl SweepBenchmark {
    fn opened(folder: PathBuf) -> Result<Self> {
        let manifest = BenchmarkFolder::open(&folder)?.manifest().clone();
        Ok(Self {
            name: manifest.name.clone(),
            kind: manifest.task,
            tasks: manifest.tasks.len(),
            folder,
            identity: manifest.fingerprint.clone(),
            manifest: Some(manifest),
            build: None,
        })
    }

    /// Builds the benchmark if its folder does not exist. Another process may build it at the same time: the first one
    /// to finish wins.
    ///
    /// # Errors
    /// The corpus cannot be read; the folder cannot be written.
    pub fn ensure(&self) -> Result<()> {
        let Some(options) = self.build.as_ref().filter(|_| !self.is_built()) else { return Ok(()) };
        note(format_args!("building {}", self.folder.display()));
        match build(options) {
            Ok(_) => self.note_identity(),
            // Another process built it, with options of its own.
            Err(_) if self.is_built() => {
                let protocol = Protocol::load(&options.protocol)?;
                let protocol = options.order.map_or(Ok(protocol.clone()), |order| protocol.with_order(order))?;
                check_built(BenchmarkFolder::open(&self.folder)?.manifest(), &protocol, options, &self.identity)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes beside the benchmark that this process has built by which protocol and options it was built.
    fn note_identity(&self) -> Result<()> {
        let built = BenchmarkFolder::open(&self.folder)?;
        let note = identity_note(&built.manifest().fingerprint, &self.identity);
        Ok(write_atomically(&identity_file(&self.folder), note.as_bytes())?)
    }

    fn is_built(&self) -> bool {
        self.folder.join(MANIFEST).is_file()
    }
}

/// Options of a protocol with several orders, and the orders to build with them.
type Family<'a> = (BuildOptions, Vec<(usize, &'a SweepBenchmark)>);

/// Builds every benchmark that is missing. Orders of one protocol that are built alike share their picture files.
///
/// # Errors
/// A corpus cannot be read; a folder cannot be written.
pub(super) fn ensure_all(benchmarks: &[SweepBenchmark]) -> Result<()> {
    // By all options, so that none of an entry reach the orders of another.
    let mut families: BTreeMap<String, Family<'_>> = BTreeMap::new();
    for benchmark in benchmarks.iter().filter(|benchmark| !benchmark.is_built()) {
        match &benchmark.build {
            Some(options @ BuildOptions { order: Some(order), .. }) => {
                let out = parent_folder(&options.out).to_owned();
                let family = BuildOptions { order: None, out, ..options.clone() };
                let (_, members) = families.entry(format!("{family:?}")).or_insert_with(|| (family, Vec::new()));
                members.push((*order, benchmark));
            }
            _ => benchmark.ensure()?,
        }
    }
    for (options, members) in families.into_values() {
        note(format_args!("building {} orders of {} in {}", members.len(), options.protocol, options.out.display()));
        build_orders(&options, &members.iter().map(|(order, _)| *order).collect::<Vec<_>>())?;
        members.iter().try_for_each(|(_, benchmark)| benchmark.note_identity())?;
    }
    Ok(())
}

/// Finds the benchmarks of a plan; `given` are folders that take their place. What has to be built goes below `out`.
///
/// # Errors
/// None at all; a folder that is no benchmark; a protocol or an order that does not exist; two benchmarks of one name.
pub(super) fn find(plan: &Plan, given: &[PathBuf], out: Option<&Path>) -> Result<Vec<SweepBenchmark>> {
    let mut found = Vec::new();
    let mut families = 0;
    let named = plan.benchmarks.iter().map(|folder| plan.resolve(folder));
    let folders: Vec<PathBuf> = if given.is_empty() { named.collect() } else { given.to_vec() };
    for folder in folders {
        let members = family(plan, &folder)?;
        if members.is_empty() {
            found.push(SweepBenchmark::opened(folder)?);
        } else {
            families += 1;
            found.extend(chosen(plan, &folder.display().to_string(), members, &plan.orders)?);
        }
    }
    for entry in plan.build.iter().filter(|_| given.is_empty()) {
        let protocol = load(plan, entry)?;
        let orders = if entry.orders.is_empty() { &plan.orders } else { &entry.orders };
        families += usize::from(protocol.orders() > 0);
        found.extend(to_build(plan, entry, &protocol, orders, out)?);
    }
    if found.is_empty() {
        return Err(plan.error("there is no benchmark: give --benchmark, or `benchmarks` or `[[build]]` in the plan"));
    }
    if families == 0 && !plan.orders.is_empty() {
        return Err(plan.error("`orders`: no benchmark of the plan has several orders; leave it out"));
    }
    no_clash(plan, &found)?;
    Ok(found)
}

fn no_clash(plan: &Plan, found: &[SweepBenchmark]) -> Result<()> {
    for (index, benchmark) in found.iter().enumerate() {
        if let Some(other) = found[..index].iter().find(|other| other.name == benchmark.name) {
            let [one, two] = [other, benchmark].map(|benchmark| benchmark.folder.display());
            let name = &benchmark.name;
            return Err(plan.error(format!(
                "{one} and {two} are both called {name}, and their runs would share a folder; leave one out"
            )));
        }
    }
    Ok(())
}

/// Returns the benchmarks of a folder that is none itself but holds the orders of one protocol, by their numbers. What a
/// command is still making there does not count.
///
/// # Errors
/// Besides orders, the folder holds other benchmarks, or the same order twice.
fn family(plan: &Plan, folder: &Path) -> Result<BTreeMap<usize, SweepBenchmark>> {
    let mut found = Vec::new();
    if !folder.join(MANIFEST).exists() && folder.is_dir() {
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && path.join(MANIFEST).is_file() {
                found.push(SweepBenchmark::opened(path)?);
            }
        }
    }
    found.sort_by(|one, other| one.folder.cmp(&other.folder));
    let key = |member: &SweepBenchmark| {
        member.manifest.as_ref().and_then(|manifest| Some((manifest.order?, manifest.protocol_sha256.clone())))
    };
    let mut members: BTreeMap<usize, SweepBenchmark> = BTreeMap::new();
    let Some((first, protocol)) = found.iter().find_map(|member| Some((member.folder.clone(), key(member)?.1))) else {
        return Ok(members);
    };
    for member in found {
        let refused = |other: &Path, why: &str| {
            let [one, two] = [other, &member.folder].map(Path::display);
            let folder = folder.display();
            plan.error(format!(
                "{folder} is not the folder of one family: {one} and {two} {why}; name the folders one by one"
            ))
        };
        match key(&member) {
            Some((order, of)) if of == protocol => {
                if let Some(twin) = members.get(&order) {
                    return Err(refused(&twin.folder, "are the same order"));
                }
                members.insert(order, member);
            }
            _ => return Err(refused(&first, "are of different protocols")),
        }
    }
    Ok(members)
}

/// Returns the members of a family in the given orders; all of them if none are given.
fn chosen<T>(plan: &Plan, family: &str, mut members: BTreeMap<usize, T>, orders: &[usize]) -> Result<Vec<T>> {
    if orders.is_empty() {
        return Ok(members.into_values().collect());
    }
    let known = members.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let choose = |order: &usize| {
        let missing = || plan.error(format!("`orders`: {family} has no order {order}; it has {known}"));
        members.remove(order).ok_or_else(missing)
    };
    orders.iter().map(choose).collect()
}

/// Loads the protocol of an entry: a shipped one, or a file beside the plan.
fn load(plan: &Plan, entry: &BuildEntry) -> Result<Protocol> {
    Protocol::load(&protocol_name(plan, entry)).map_err(|error| plan.error(format!("`build`: {error}")))
}

fn protocol_name(plan: &Plan, entry: &BuildEntry) -> String {
    let shipped = SHIPPED.iter().any(|(name, _)| *name == entry.protocol);
    let path = plan.resolve(Path::new(&entry.protocol));
    if shipped || !path.is_file() { entry.protocol.clone() } else { path.to_string_lossy().into_owned() }
}

/// Describes the benchmarks that an entry builds: one, or those of the given orders.
fn to_build(
    plan: &Plan,
    entry: &BuildEntry,
    protocol: &Protocol,
    orders: &[usize],
    out: Option<&Path>,
) -> Result<Vec<SweepBenchmark>> {
    let parent = out.unwrap_or(Path::new("")).join("benchmarks");
    let options = options(plan, entry, parent);
    if protocol.orders() == 0 {
        if !entry.orders.is_empty() {
            return Err(plan.error(format!("`build.orders`: {} has a single order; leave it out", protocol.name)));
        }
        return Ok(vec![planned(plan, protocol, options)?]);
    }
    // The other orders may be those of another entry, with other options.
    let members = (1..=protocol.orders()).map(|order| (order, order)).collect();
    let member = |order| {
        let options = BuildOptions { order: Some(order), ..options.clone() };
        planned(plan, &protocol.with_order(order)?, options)
    };
    chosen(plan, &protocol.name, members, orders)?.into_iter().map(member).collect()
}

fn options(plan: &Plan, entry: &BuildEntry, out: PathBuf) -> BuildOptions {
    let defaults = BuildOptions::new(protocol_name(plan, entry), plan.resolve(&entry.raw), out);
    BuildOptions {
        images: entry.images.as_deref().map(|images| plan.resolve(images)),
        on_error: entry.on_error.unwrap_or(defaults.on_error),
        on_bad_image: entry.on_bad_image.unwrap_or(defaults.on_bad_image),
        on_bad_crops: entry.on_bad_crops.unwrap_or(defaults.on_bad_crops),
        allow: entry.allow.clone(),
        as_published: entry.as_published,
        ..defaults
    }
}

/// Describes a benchmark that may be built already.
fn planned(plan: &Plan, protocol: &Protocol, mut options: BuildOptions) -> Result<SweepBenchmark> {
    let spec = protocol.corpus.spec().map_err(|error| plan.error(format!("`build`: {error}")))?;
    let BuildOptions { order, on_error, on_bad_image, on_bad_crops, as_published, .. } = &options;
    let rules = format!("{order:?} {on_error:?} {on_bad_image:?} {on_bad_crops:?} {as_published}");
    let identity = sha256_hex(format!("{} {rules}", protocol.sha256()).as_bytes());
    options.out.push(&protocol.name);
    let folder = options.out.clone();
    let manifest = if folder.join(MANIFEST).is_file() {
        let manifest = SweepBenchmark::opened(folder.clone())?.manifest;
        manifest.map(|manifest| check_built(&manifest, protocol, &options, &identity).map(|()| manifest)).transpose()?
    } else if options.raw.is_dir() {
        None
    } else {
        return Err(plan.error(format!("`build`: {} is no folder with corpus files", options.raw.display())));
    };
    Ok(SweepBenchmark {
        name: protocol.name.clone(),
        kind: spec.task,
        tasks: protocol.task_count(),
        folder,
        identity,
        manifest,
        build: Some(options),
    })
}

/// Returns the file beside a built benchmark that says by which protocol and options a sweep built it.
fn identity_file(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    parent_folder(folder).join(format!(".{name}.identity"))
}

/// Says which benchmark it is that a sweep built, and by which protocol and options.
fn identity_note(fingerprint: &str, identity: &str) -> String {
    format!("{fingerprint}\n{identity}\n")
}

/// Checks that a benchmark folder is what the plan would build. Corpus files that are gone are not missed.
fn check_built(manifest: &Manifest, protocol: &Protocol, options: &BuildOptions, identity: &str) -> Result<()> {
    let differs = |what: &str| {
        let folder = options.out.display();
        let remedy = "delete the folder and the runs on it, or choose another --out";
        Err(Error::Usage(format!("{folder} was built from another {what} than the plan names; {remedy}")))
    };
    if manifest.protocol_sha256 != protocol.sha256() || manifest.order != options.order {
        return differs("protocol");
    }
    if manifest.as_published != options.as_published {
        return differs("`as_published`");
    }
    // There is no note of a benchmark that an earlier version built, or that took the place of the one that a sweep built.
    let built = fs_err::read_to_string(identity_file(&options.out)).unwrap_or_default();
    if built.lines().next() == Some(&manifest.fingerprint) && built != identity_note(&manifest.fingerprint, identity) {
        return differs("set of options");
    }
    for source in &manifest.sources {
        let path = options.raw.join(&source.name);
        if path.is_file() && sha256_file(&path)? != source.sha256 {
            return differs(&format!("{}", path.display()));
        }
    }
    Ok(())
}
