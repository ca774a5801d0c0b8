//! The words of the synthetic corpora.

/// First or only words of person names; `jordan` is a place as well.
pub(super) const PEOPLE: &[&str] = &[
    "anna", "boris", "carla", "david", "elena", "felix", "greta", "hugo", "irene", "jonas", "karin", "leon", "marta",
    "nils", "jordan",
];
/// Family names, the second word of a long person name.
pub(super) const FAMILIES: &[&str] = &["smith", "lopez", "meyer", "rossi", "tanaka", "novak", "singh", "dubois"];
/// First or only words of place names.
pub(super) const PLACES: &[&str] =
    &["paris", "lima", "oslo", "cairo", "delhi", "quito", "tokyo", "sofia", "havana", "dublin", "riga", "jordan"];
/// Second word of a long place name.
pub(super) const PLACE_TAILS: &[&str] = &["valley", "harbour", "island", "heights"];
/// First or only words of organisation names; `orion` and `delta` are works as well.
pub(super) const GROUPS: &[&str] = &[
    "acme", "globex", "initech", "umbra", "vertex", "nimbus", "rovers", "lakers", "apple", "orion", "zenith", "delta",
];
/// Second word of a long organisation name.
pub(super) const GROUP_TAILS: &[&str] = &["corp", "union", "united", "labs"];
/// First or only words of the names of works and events.
pub(super) const WORKS: &[&str] = &[
    "eclipse", "odyssey", "carnival", "marathon", "gala", "saga", "anthem", "derby", "expo", "tempest", "delta",
    "orion",
];
/// Second word of a long work or event name.
pub(super) const WORK_TAILS: &[&str] = &["festival", "cup", "awards", "live"];

/// Words that mean nothing for either task.
pub(super) const FILLERS: &[&str] = &[
    "the", "a", "today", "just", "and", "so", "very", "with", "again", "now", "this", "that", "here", "really",
    "still", "photo", "new", "news", "day", "time", "our", "their", "all", "some", "more", "great", "good", "love",
    "look", "says",
];

/// Per relation: words that occur in its sentences only.
pub(super) const TRIGGERS: [&[&str]; 8] = [
    &["plays", "joined", "signed", "squad"],
    &["inside", "contains", "includes", "covers"],
    &["lives", "moved", "resides", "settled"],
    &["based", "office", "headquarters", "operates"],
    &["started", "created", "launched", "built"],
    &["beside", "nearby", "borders", "adjacent"],
    &["born", "birthplace", "native", "raised"],
    &["opened", "established", "incorporated", "began"],
];

/// Per pair of relations (i and i + 4): words that either may use, so that only the picture tells which it is.
pub(super) const AMBIGUOUS: [&[&str]; 4] = [
    &["leads", "boss", "head"],
    &["map", "region", "around"],
    &["home", "hometown", "from"],
    &["roots", "local", "city"],
];

/// Per entity type (PER, LOC, ORG, MISC): words that stand right before an entity of that type.
pub(super) const CUES: [&[&str]; 4] = [
    &["singer", "mister", "meet", "captain"],
    &["in", "near", "visiting", "toward"],
    &["company", "team", "employer", "club"],
    &["watching", "tickets", "during", "celebrate"],
];

/// Every list, one after another (words in two lists occur twice).
#[cfg(test)]
pub(super) fn all() -> Vec<&'static str> {
    let lexicons = [PEOPLE, FAMILIES, PLACES, PLACE_TAILS, GROUPS, GROUP_TAILS, WORKS, WORK_TAILS, FILLERS];
    let lists = lexicons.into_iter().chain(TRIGGERS).chain(AMBIGUOUS).chain(CUES);
    lists.flatten().copied().collect()
}
