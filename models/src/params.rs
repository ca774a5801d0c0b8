//! Named variables, with pre-trained values where a safetensors file has them and seeded random ones elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::pretrained::WeightFile;

/// The one embedding that may grow beyond its stored rows, for added tokens.
const GROWS: &str = "word_embeddings.weight";

/// First part of the names of CLIP's vision model.
const VISION: &str = "vision_model.";

/// A tensor of a file, under its name in the file.
struct StoredTensor {
    file: Arc<WeightFile>,
    name: String,
}

/// What the clones of a store share.
#[derive(Default)]
struct Shared {
    vars: BTreeMap<String, Var>,
    sources: Vec<PathBuf>,
    stored: BTreeMap<String, StoredTensor>,
    used: BTreeSet<String>,
}

/// Variables of a network by name. A [`VarBuilder`] over it creates each variable on first use; iteration is in name
/// order, so no sum depends on a hash.
#[derive(Clone)]
pub struct ParamStore {
    seed: u64,
    device: Device,
    inner: Arc<Mutex<Shared>>,
}

impl ParamStore {
    /// Creates an empty store. Random values depend on `seed` and the variable's name alone.
    pub fn new(seed: u64, device: Device) -> Self {
        Self { seed, device, inner: Arc::default() }
    }

    /// Takes values from a safetensors file where names agree; a second file adds to the first. Three variants of names
    /// are accepted: a leading `bert.` is dropped, `gamma` and `beta` of TensorFlow's time become `weight` and `bias`,
    /// and names of a vision model that transformers 5 saved on its own get the prefix `vision_model.`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn with_pretrained(self, path: &Path) -> Result<Self> {
        self.with_shards(&[path.to_path_buf()])
    }

    /// Takes values from the safetensors files of one model, as [`ParamStore::with_pretrained`] does from one.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn with_shards(self, paths: &[PathBuf]) -> Result<Self> {
        let files = paths.iter().map(|path| Ok(Arc::new(WeightFile::open(path)?))).collect::<Result<Vec<_>>>()?;
        let vision = files.iter().any(|file| file.shape("pre_layrnorm.weight").is_some());
        let family = if vision { VISION } else { "" };
        let renamed = |name: &str| {
            let name = name.strip_prefix("bert.").unwrap_or(name);
            let name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias");
            format!("{family}{name}")
        };
        let mut inner = self.lock();
        for file in &files {
            let stored = |name: &String| StoredTensor { file: Arc::clone(file), name: name.clone() };
            inner.sources.push(file.path().to_path_buf());
            inner.stored.extend(file.names().map(|name| (renamed(name), stored(name))));
        }
        drop(inner);
        Ok(self)
    }

    /// Returns a builder of networks whose variables are kept here, in f32.
    pub fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, self.device.clone())
    }

    /// Returns all variables in the order of their names.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.lock().vars.iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }

    /// Returns copies of all values.
    ///
    /// # Errors
    /// A copy on the device fails.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.lock().vars.iter().map(|(name, var)| Ok((name.clone(), var.as_tensor().copy()?))).collect()
    }

    /// Sets every variable to the value of its name.
    ///
    /// # Errors
    /// A variable has no value, a value has no variable, or their shapes differ; then no variable is set.
    pub fn load(&self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        let inner = self.lock();
        if let Some(name) = values.keys().find(|name| !inner.vars.contains_key(*name)) {
            return Err(Error::State(format!("`{name}` is no variable of this network")));
        }
        for (name, var) in &inner.vars {
            let value = values.get(name).ok_or_else(|| Error::State(format!("no value for `{name}`")))?;
            if value.shape() != var.shape() {
                return Err(Error::State(format!(
                    "`{name}` has shape {:?}, expected {:?}",
                    value.shape(),
                    var.shape()
                )));
            }
        }
        for (name, var) in &inner.vars {
            var.set(&values[name].to_device(&self.device)?)?;
        }
        Ok(())
    }

    /// Checks that every variable below `prefix` has its value from a file, if a file was given.
    ///
    /// # Errors
    /// A variable has another value. The error names the first one, and the file that holds others below `prefix` (all
    /// files if none does).
    pub fn require_pretrained(&self, prefix: &str) -> Result<()> {
        let inner = self.lock();
        let below = |name: &str| name.starts_with(prefix);
        let missing = inner.vars.iter().find(|(name, _)| below(name) && !inner.used.contains(*name));
        let Some((name, var)) = missing.filter(|_| !inner.sources.is_empty()) else { return Ok(()) };
        let source = inner.stored.iter().find(|(name, _)| below(name));
        let source = source.map(|(_, stored)| vec![stored.file.path().to_path_buf()]);
        let files: Vec<String> =
            source.as_ref().unwrap_or(&inner.sources).iter().map(|p| p.display().to_string()).collect();
        let reason = format!("holds no tensor `{name}` of shape {:?}; does it belong to config.json?", var.dims());
        Err(Error::encoder(Path::new(&files.join(", ")), reason))
    }

    /// Returns the tensors of the files that no variable has taken, each with its file and under its name there.
    pub fn unused(&self) -> Vec<(PathBuf, String)> {
        let inner = self.lock();
        let unused = inner.stored.iter().filter(|(name, _)| !inner.used.contains(*name));
        unused.map(|(_, stored)| (stored.file.path().to_path_buf(), stored.name.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first value of a new variable.
    fn initial(
        &self,
        shape: &Shape,
        name: &str,
        init: Init,
        stored: Option<&StoredTensor>,
    ) -> candle_core::Result<Tensor> {
        let Some(stored) = stored else { return random(self.seed, name, shape, init)?.to_device(&self.device) };
        let have = stored.file.shape(&stored.name).unwrap_or_default();
        let want = shape.dims();
        let grows =
            name.ends_with(GROWS) && have.len() == 2 && want.len() == 2 && have[1] == want[1] && have[0] < want[0];
        if have == want {
            return stored.file.read(&stored.name)?.to_device(&self.device);
        }
        if !grows {
            let file = stored.file.path().display();
            candle_core::bail!("{file}: `{name}` has shape {have:?}, config.json says {want:?}");
        }
        let added = random(self.seed, name, shape, init)?.narrow(0, have[0], want[0] - have[0])?;
        Tensor::cat(&[&stored.file.read(&stored.name)?, &added], 0)?.to_device(&self.device)
    }
}

impl SimpleBackend for ParamStore {
    fn get(&self, shape: Shape, name: &str, init: Init, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        let mut inner = self.lock();
        if let Some(var) = inner.vars.get(name) {
            return Ok(var.as_tensor().clone());
        }
        let value = self.initial(&shape, name, init, inner.stored.get(name))?;
        if inner.stored.contains_key(name) {
            inner.used.insert(name.to_owned());
        }
        let var = Var::from_tensor(&value)?;
        inner.vars.insert(name.to_owned(), var.clone());
        Ok(var.as_tensor().clone())
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        let found = self.lock().vars.get(name).map(|var| var.as_tensor().clone());
        found.ok_or_else(|| candle_core::Error::Msg(format!("no variable `{name}`")))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        let inner = self.lock();
        inner.vars.contains_key(name) || inner.stored.contains_key(name)
    }
}

/// Hashes a name by FNV-1a, so that each name has its own random numbers.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Draws values on the CPU. `Kaiming` is PyTorch's default for `nn.Linear`: uniform in ±1/√fan_in.
fn random(seed: u64, name: &str, shape: &Shape, init: Init) -> candle_core::Result<Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ hash(name));
    let mut uniform = |lo: f64, up: f64| lo + (up - lo) * rng.random::<f64>();
    let n = shape.elem_count();
    let bound = 1.0 / (shape.dims().last().copied().unwrap_or(1) as f64).sqrt();
    let values: Vec<f32> = match init {
        Init::Const(value) => vec![value as f32; n],
        Init::Uniform { lo, up } => (0..n).map(|_| uniform(lo, up) as f32).collect(),
        Init::Randn { mean, stdev } => {
            // Box and Muller's method; the first draw is in (0, 1], so that its logarithm is finite.
            let mut normal = || {
                let radius = (-2.0 * (1.0 - uniform(0.0, 1.0)).ln()).sqrt();
                radius * (std::f64::consts::TAU * uniform(0.0, 1.0)).cos()
            };
            (0..n).map(|_| (mean + stdev * normal()) as f32).collect()
        }
        Init::Kaiming { .. } => (0..n).map(|_| uniform(-bound, bound) as f32).collect(),
    };
    Tensor::from_vec(values, shape, &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: Init = Init::Randn { mean: 0.0, stdev: 0.02 };

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn values_depend_on_seed_and_name_not_on_order() {
        let a = ParamStore::new(1, Device::Cpu);
        let b = ParamStore::new(1, Device::Cpu);
        let get =
            |store: &ParamStore, name: &str| values(&store.builder().get_with_hints((40, 50), name, NORMAL).unwrap());
        let x = get(&a, "x");
        let y = get(&a, "y");
        assert_eq!(get(&b, "y"), y);
        assert_eq!(get(&b, "x"), x);
        assert_ne!(x, y);
        assert_ne!(get(&ParamStore::new(2, Device::Cpu), "x"), x);
        let mean: f32 = x.iter().sum::<f32>() / 2000.0;
        let stdev = (x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 2000.0).sqrt();
        assert!(mean.abs() < 0.002 && (stdev - 0.02).abs() < 0.001, "{mean} {stdev}");
    }

    #[test]
    fn stored_values_win_and_wrong_shapes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let words = Tensor::arange(0f32, 6.0, &Device::Cpu).unwrap().reshape((3, 2)).unwrap();
        let tensors = [("bert.word_embeddings.weight", words.clone()), ("bert.encoder.w", words)];
        candle_core::safetensors::save(&tensors.into_iter().collect(), &path).unwrap();
        let store = ParamStore::new(1, Device::Cpu).with_pretrained(&path).unwrap();
        let grown = store.builder().get_with_hints((5, 2), "word_embeddings.weight", NORMAL).unwrap();
        assert_eq!(values(&grown)[..6], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!(values(&grown)[6..].iter().all(|value| *value != 0.0 && value.abs() < 0.2));
        let error = store.builder().get_with_hints((5, 2), "encoder.w", NORMAL).unwrap_err().to_string();
        assert!(error.contains("model.safetensors: `encoder.w` has shape [3, 2], config.json says [5, 2]"), "{error}");
        store.builder().get_with_hints((1, 1), "encoder.other", NORMAL).unwrap();
        let error = store.require_pretrained("encoder.").unwrap_err().to_string();
        assert!(error.contains("model.safetensors: holds no tensor `encoder.other` of shape [1, 1]"), "{error}");
    }

    /// `pre_layrnorm` without `vision_model.` is how transformers 5 saves a vision model on its own.
    #[test]
    fn two_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let one = || Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
        let file = |name: &str, tensors: &[&str]| {
            let path = dir.path().join(name);
            let tensors = tensors.iter().map(|tensor| (*tensor, one())).collect();
            candle_core::safetensors::save(&tensors, &path).unwrap();
            path
        };
        let text = file("text", &["bert.embeddings.a", "bert.encoder.a"]);
        for vision in [
            file("vision", &["vision_model.pre_layrnorm.weight", "text_model.embeddings.a"]),
            file("vision", &["pre_layrnorm.weight"]),
        ] {
            let store = ParamStore::new(1, Device::Cpu).with_pretrained(&text).unwrap();
            let get = |store: &ParamStore, name: &str, rows| store.builder().get_with_hints((rows, 3), name, NORMAL);
            get(&store, "embeddings.a", 2).unwrap();
            let missing = |store: &ParamStore, prefix: &str| store.require_pretrained(prefix).unwrap_err().to_string();
            get(&store, "vision_model.other", 2).unwrap();
            assert!(missing(&store, "vision_model.").contains("text: holds no tensor `vision_model.other`"));
            let store = store.with_pretrained(&vision).unwrap();
            assert_eq!(values(&get(&store, "vision_model.pre_layrnorm.weight", 2).unwrap()), [1.0; 6]);
            store.require_pretrained("embeddings.").unwrap();
            assert!(missing(&store, "vision_model.").contains("vision: holds no tensor `vision_model.other`"));
            let error = get(&store, "encoder.a", 4).unwrap_err().to_string();
            assert!(error.contains("text: `encoder.a` has shape [2, 3], config.json says [4, 3]"), "{error}");
            get(&store, "elsewhere.b", 1).unwrap();
            assert!(missing(&store, "elsewhere.").contains("text, "), "{}", missing(&store, "elsewhere."));
        }
    }

    #[test]
    fn loading_is_all_or_nothing() {
        let store = ParamStore::new(1, Device::Cpu);
        store.builder().get_with_hints((2,), "a", NORMAL).unwrap();
        let before = store.tensors().unwrap();
        let with =
            |name: &str, n: usize| [(name.to_owned(), Tensor::zeros((n,), DType::F32, &Device::Cpu).unwrap())].into();
        assert!(store.load(&with("b", 2)).unwrap_err().to_string().contains("`b` is no variable"));
        assert!(store.load(&with("a", 3)).unwrap_err().to_string().contains("shape"));
        assert_eq!(values(&store.tensors().unwrap()["a"]), values(&before["a"]));
        store.load(&with("a", 2)).unwrap();
        assert_eq!(values(&store.tensors().unwrap()["a"]), [0.0, 0.0]);
    }
}
