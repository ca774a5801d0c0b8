//! Every method, one line each.

use mkgc_builder::corpus::Extraction;

use super::emar::EMAR_BERT;
use super::emr::{CONCAT_REPLAY, EMR, MKGFORMER_REPLAY};
use super::ewc::EWC;
use super::fea::FEA;
use super::joint::{JOINT, JOINT_MULTIMODAL};
use super::lmc::{LMC, LMC_RELEASED, LMC_REPLAY};
use super::majority::MAJORITY;
use super::rp_cre::RP_CRE;
use super::seq_star::SEQ_STAR;
use super::spec::{Keeps, MethodSpec};
use super::vanilla::{CONCAT, MKGFORMER, VANILLA};
use crate::config::{Overrides, Resolved, unknown};
use crate::error::{Error, Result};

/// Every method, in the order of reports.
pub const METHODS: &[MethodSpec] = &[
    MAJORITY,
    VANILLA,
    EWC,
    EMR,
    EMAR_BERT,
    RP_CRE,
    FEA,
    SEQ_STAR,
    CONCAT,
    CONCAT_REPLAY,
    MKGFORMER,
    MKGFORMER_REPLAY,
    LMC,
    LMC_RELEASED,
    LMC_REPLAY,
    JOINT,
    JOINT_MULTIMODAL,
];

/// Returns the names that `mkgc train --method` accepts.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    METHODS.iter().map(|method| method.name)
}

/// Returns the position of a method in reports; methods that are not in the registry come last.
pub fn position(name: &str) -> usize {
    METHODS.iter().position(|known| known.name == name).unwrap_or(METHODS.len())
}

/// Returns whether a method learns from all rows so far at once, and so bounds what the others of its modality can reach.
pub fn is_upper_bound(name: &str) -> bool {
    find(name).is_ok_and(|method| method.keeps == Keeps::AllRows)
}

/// Finds a method by name.
///
/// # Errors
/// No method has this name; the message suggests the nearest one.
pub fn find(name: &str) -> Result<&'static MethodSpec> {
    let unknown = || Error::Usage(format!("method {}", unknown(name, names())));
    METHODS.iter().find(|method| method.name == name).ok_or_else(unknown)
}

/// Resolves the settings of a method, whether it is in the registry or not. A recipe may hold a section for each method
/// of the registry.
///
/// # Errors
/// A setting that the method does not read; a value that no run can have.
pub fn resolve(kind: Extraction, method: &MethodSpec, given: Overrides<'_>) -> Result<Resolved> {
    method.resolve(kind, &names().collect::<Vec<_>>(), given)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Recipe;
    use crate::config::settings::SETTINGS;

    fn table(text: &str) -> toml::Table {
        toml::from_str(text).unwrap()
    }

    /// Resolves a method's settings on relations.
    fn resolved(method: &str, recipe: &str, flags: &str) -> Result<Resolved> {
        let recipe = Recipe::new("r.toml", table(recipe));
        let given = Overrides { recipe: Some(&recipe), flags: table(flags), ..Overrides::default() };
        resolve(Extraction::Relations, find(method)?, given)
    }

    fn refusal(method: &str, recipe: &str, flags: &str) -> String {
        resolved(method, recipe, flags).unwrap_err().to_string()
    }

    #[test]
    fn flags_win_over_the_recipe_and_the_recipe_over_defaults() {
        let recipe = "epochs = 3\nbatch_size = 4\n[emr]\nepochs = 5\n";
        let settings = resolved("emr", recipe, "batch_size = 2").unwrap();
        assert_eq!((settings.config.epochs, settings.config.batch_size), (5, 2));
        assert_eq!(settings.origins["batch_size"], "flag");
        assert_eq!(settings.origins["epochs"], "r.toml");
        assert_eq!(settings.origins["lr_head"], "default");
        assert_eq!(resolved("vanilla", recipe, "").unwrap().config.epochs, 3);
    }

    #[test]
    fn a_recipe_serves_methods_that_read_only_some_of_its_keys() {
        let recipe = "epochs = 3\nkey_size = 32\nlambda = 0.5\n[lmc]\nshared_layers = 1\n";
        let emr = resolved("emr", recipe, "").unwrap();
        assert_eq!((emr.config.epochs, emr.config.key_size), (3, 256), "emr has no memory network");
        assert_eq!(emr.origins["key_size"], "default");
        let lmc = resolved("lmc", recipe, "").unwrap();
        assert_eq!((lmc.config.lambda, lmc.config.shared_layers), (0.5, 1));
        assert!(refusal("emr", "keysize = 32", "").contains("did you mean `key_size`"));
        let shared = Overrides { shared: table("key_size = 32"), ..Overrides::default() };
        assert_eq!(resolve(Extraction::Relations, find("emr").unwrap(), shared).unwrap().config.key_size, 256);
    }

    #[test]
    fn a_setting_that_a_method_does_not_read_is_refused_with_those_it_reads() {
        for message in [refusal("emr", "", "key_size = 32"), refusal("emr", "[emr]\nkey_size = 32", "")] {
            assert!(
                message.contains("`key_size`: emr does not read it. It reads: max_length, train_seed"),
                "{message}"
            );
            assert!(message.contains("replay_o") && !message.contains("rounds"), "{message}");
        }
        assert!(refusal("majority", "", "epochs = 1").contains("It reads: max_length, train_seed"));
        assert!(refusal("emr", "emr = 1", "").contains("[emr]"));
    }

    #[test]
    fn unknown_and_impossible_values_name_the_key() {
        let message = refusal("emr", "", "epoch = 1");
        assert!(message.contains("`epoch`") && message.contains("did you mean `epochs`"), "{message}");
        for (method, setting, key) in [
            ("emr", "epochs = 0", "`epochs`"),
            ("rp-cre", "key_size = 0", "`key_size`"),
            ("ewc", "fisher_rows = 0", "`fisher_rows`"),
        ] {
            let message = refusal(method, "", setting);
            assert!(message.contains(key) && message.contains("at least 1"), "{message}");
        }
        let message = refusal("ewc", "", "ewc_lambda = 5");
        assert!(message.contains("`ewc_lambda`") && message.contains("ewc_grid = []"), "{message}");
        let given = resolved("ewc", "", "ewc_lambda = 5\newc_grid = []").unwrap();
        assert_eq!(given.config.ewc_lambda, 5.0);
        let message = refusal("ewc", "", "ewc_lambda = 5\newc_grid = [1, -1]");
        assert!(message.contains("`ewc_grid`") && message.contains("-1"), "{message}");
        let message = refusal("lmc", "", "shared_layers = 0");
        assert!(message.contains("`lambda`") && message.contains("raise shared_layers"), "{message}");
        let message = refusal("mkgformer", "", "warmup = 2");
        assert!(message.contains("`warmup`") && message.contains("[0, 1]"), "{message}");
    }

    #[test]
    fn values_of_another_type_name_the_key_and_the_recipe() {
        for (setting, expected) in [
            ("lr_encoder = \"x\"", "configuration key `lr_encoder`: expected a number, found the text \"x\""),
            ("head = \"foo\"", "configuration key `head`: unknown value `foo`; known: markers, cls"),
            ("epochs = -1", "configuration key `epochs`: expected a whole number that is not negative"),
        ] {
            let flag = refusal("emr", "", setting);
            assert!(flag.starts_with(expected) && !flag.contains("(in "), "{flag}");
            let recipe = refusal("emr", setting, "");
            assert!(recipe.starts_with(expected) && recipe.ends_with("(in r.toml)"), "{recipe}");
        }
        let message = refusal("ewc", "[ewc]\newc_grid = [1, true]", "");
        assert!(
            message.starts_with("configuration key `ewc_grid[1]`: ") && message.ends_with("(in r.toml)"),
            "{message}"
        );
        // Values that no run can have, and keys that are no settings, name the recipe as well.
        for recipe in ["epochs = 0", "epoch = 1", "[emr]\nkey_size = 3", "emr = 1"] {
            assert!(refusal("emr", recipe, "").ends_with("(in r.toml)"), "{recipe}");
            assert!(!refusal("emr", "", &recipe.replace("[emr]\n", "")).contains("r.toml"), "{recipe}");
        }
    }

    #[test]
    fn a_head_is_chosen_for_relations_alone() {
        let set = |kind, method: &str, head: &str| {
            let flags = table(&format!("head = \"{head}\""));
            resolve(kind, find(method).unwrap(), Overrides { flags, ..Overrides::default() })
        };
        for (method, own, other) in
            [("emr", "markers", "cls"), ("lmc", "cls", "markers"), ("mkgformer", "markers", "cls")]
        {
            for head in [own, other] {
                assert!(set(Extraction::Relations, method, head).is_ok(), "{method} {head}");
            }
            assert!(set(Extraction::Entities, method, own).is_ok(), "{method}");
            let message = set(Extraction::Entities, method, other).unwrap_err().to_string();
            assert!(message.contains("`head`") && message.contains("entity heads read every word"), "{message}");
        }
    }

    #[test]
    fn every_setting_is_read_by_a_method_and_every_key_is_a_setting() {
        let read: BTreeSet<&str> = METHODS.iter().flat_map(MethodSpec::reads).collect();
        let described: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
        assert_eq!(read, described);
        let config = toml::Table::try_from(MAJORITY.config(Extraction::Relations)).unwrap();
        assert_eq!(config.keys().map(String::as_str).collect::<BTreeSet<_>>(), described);
        for method in METHODS {
            let reads = method.reads();
            assert_eq!(reads.iter().collect::<BTreeSet<_>>().len(), reads.len(), "{}: a key twice", method.name);
        }
    }

    /// A default that differs from the shared one is a setting that the method reads, or the state of a device that is off.
    #[test]
    fn methods_change_defaults_that_they_read() {
        for kind in [Extraction::Relations, Extraction::Entities] {
            let shared = toml::Table::try_from(crate::config::Config::shared(kind)).unwrap();
            for method in METHODS {
                let own = toml::Table::try_from(method.config(kind)).unwrap();
                let changed = own.iter().filter(|(key, value)| *value != &shared[*key] && *key != "head");
                for (key, _) in changed {
                    assert!(method.reads().contains(&key.as_str()), "{} changes {key}", method.name);
                }
            }
        }
    }
}
