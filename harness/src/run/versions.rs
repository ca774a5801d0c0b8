//! Upgrades the `run.json` of earlier versions. The tables here are frozen: what an old run did must not change with the
//! methods and defaults of today.

use serde_json::{Value, json};

/// Methods whose relation head read `[CLS]` when `run.json` did not say which states a head reads.
const READ_CLS: [&str; 6] = ["concat", "concat-replay", "joint-multimodal", "lmc", "lmc-released", "lmc-replay"];

/// Returns the value as version `current` would have written it. Version 1 knew the text encoder alone and fewer
/// settings; the missing ones had no effect on its methods, so any value may stand for them. Versions 3 and 4 changed
/// `result.json`, 4 also the predictions.
///
/// # Errors
/// A version later than `current`; a damaged file.
pub(super) fn upgraded(mut value: Value, current: u32) -> Result<Value, String> {
    let version = value.get("schema_version").and_then(Value::as_u64).ok_or("no schema_version")?;
    if !(1..=u64::from(current)).contains(&version) {
        return Err(format!("schema version {version}, this mkgc reads 1 to {current}"));
    }
    if version == 1 {
        upgrade_from_1(&mut value)?;
    }
    value["schema_version"] = current.into();
    complete_config(&mut value);
    Ok(value)
}

fn upgrade_from_1(value: &mut Value) -> Result<(), String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let damaged = || "a key of schema version 1 is missing".to_owned();
    let method = text(value, "method").ok_or_else(damaged)?;
    let (name, identity) = text(value, "encoder").zip(text(value, "encoder_identity")).ok_or_else(damaged)?;
    let mut config = settings_after_1();
    let stored = value.get("config").and_then(Value::as_object).ok_or_else(damaged)?;
    for (key, setting) in stored {
        config[key] = setting.clone();
    }
    let per_class = config["memory_per_class"].as_u64().unwrap_or_default();
    value["memory_budget"] = match method.as_str() {
        "vanilla" => "nothing".into(),
        "emr" => format!("{per_class} rows per class").into(),
        "joint" => "all rows".into(),
        _ => "unknown".into(),
    };
    value["config"] = config;
    value["encoder"] = json!({"name": name, "identity": identity});
    Ok(())
}

/// Returns the settings that version 1 did not have.
fn settings_after_1() -> Value {
    json!({
        "lr_key": 1e-6, "lr_bias": 1e-5, "lr_memory_network": 1e-4, "schedule": "constant", "warmup": 0.0,
        "optimiser_per_task": true, "head": "markers", "clip_apart": false, "memory_outside": false,
        "selection": "kmeans", "memory_epochs": 10, "rounds": 2, "key_size": 256, "ewc_lambda": 1e3,
        "ewc_grid": [1e2, 1e3, 1e4, 1e5, 1e6], "ewc_gamma": 1.0, "fisher_rows": 2000, "visual": "auto",
        "shared_layers": 0, "key": "own", "pooling": "both", "lambda": 0.0, "alpha": 0.0, "noise": false,
        "interaction_layers": 4, "mask_text_padding": true,
    })
}

/// Adds the setting `head`, which the first runs of version 4 did not have and whose default was the method's.
fn complete_config(value: &mut Value) {
    let method = value.get("method").and_then(Value::as_str).unwrap_or_default();
    let head = if READ_CLS.contains(&method) { "cls" } else { "markers" };
    if value.get("external").is_some() {
        return;
    }
    if let Some(config) = value.get_mut("config").and_then(Value::as_object_mut) {
        config.entry("head").or_insert(head.into());
    }
}
