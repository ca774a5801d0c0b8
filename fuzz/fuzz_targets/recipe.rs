//! Recipes, resolved for every method.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_builder::corpus::Extraction;
use mkgc_fuzz::{file, seed};
use mkgc_harness::config::{Overrides, Recipe};
use mkgc_harness::methods::registry;

const SEEDS: [&str; 3] = [
    include_str!("../../harness/recipes/minilm-cpu-mnre.toml"),
    include_str!("../../harness/recipes/minilm-cpu-twitter2017.toml"),
    include_str!("../../harness/src/demo/recipe.toml"),
];

fuzz_target!(init: seed(SEEDS), |data: &[u8]| {
    let recipe = match Recipe::read(&file("recipe.toml", data)) {
        Ok(recipe) => recipe,
        Err(error) => return assert!(error.to_string().contains("recipe.toml"), "{error}"),
    };
    for method in registry::METHODS {
        for kind in [Extraction::Relations, Extraction::Entities] {
            let given = Overrides { recipe: Some(&recipe), ..Overrides::default() };
            if let Ok(resolved) = registry::resolve(kind, method, given) {
                resolved.to_toml().unwrap();
            }
        }
    }
});
