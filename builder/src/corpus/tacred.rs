//! TACRED (Zhang et al. 2017), relations in newswire and web text. The corpus is licensed by the Linguistic Data
//! Consortium (LDC2018T24), so it is built from a user's own files. Text only.

use std::sync::Arc;

use super::format::Tacred;
use super::spec::{CorpusReference, CorpusSpec, PictureFolders, SplitFiles};
use super::types::Extraction;

/// The 41 relations; rows without one have `no_relation`.
const RELATIONS: [&str; 41] = [
    "org:alternate_names",
    "org:city_of_headquarters",
    "org:country_of_headquarters",
    "org:dissolved",
    "org:founded",
    "org:founded_by",
    "org:member_of",
    "org:members",
    "org:number_of_employees/members",
    "org:parents",
    "org:political/religious_affiliation",
    "org:shareholders",
    "org:stateorprovince_of_headquarters",
    "org:subsidiaries",
    "org:top_members/employees",
    "org:website",
    "per:age",
    "per:alternate_names",
    "per:cause_of_death",
    "per:charges",
    "per:children",
    "per:cities_of_residence",
    "per:city_of_birth",
    "per:city_of_death",
    "per:countries_of_residence",
    "per:country_of_birth",
    "per:country_of_death",
    "per:date_of_birth",
    "per:date_of_death",
    "per:employee_of",
    "per:origin",
    "per:other_family",
    "per:parents",
    "per:religion",
    "per:schools_attended",
    "per:siblings",
    "per:spouse",
    "per:stateorprovince_of_birth",
    "per:stateorprovince_of_death",
    "per:stateorprovinces_of_residence",
    "per:title",
];

/// Returns what the builder has to know of the corpus.
pub fn spec() -> CorpusSpec {
    CorpusSpec {
        name: "tacred".into(),
        about: "TACRED, relation extraction from newswire, 41 relations (LDC2018T24).".into(),
        task: Extraction::Relations,
        files: [&["train.json"][..], &["dev.json", "valid.json"], &["test.json"]].map(SplitFiles::one_of),
        format: Arc::new(Tacred),
        classes: RELATIONS.map(str::to_owned).to_vec(),
        class_ids: None,
        none: Some("no_relation".into()),
        pictures: PictureFolders::default(),
        reference: CorpusReference {
            origin: "TACRED (Zhang et al. 2017, <https://catalog.ldc.upenn.edu/LDC2018T24>)".into(),
            homepage: "https://catalog.ldc.upenn.edu/LDC2018T24".into(),
            citation: "Zhang et al. (2017). Position-aware Attention and Supervised Data Improve Slot Filling. EMNLP."
                .into(),
            license: Some("LDC User Agreement".into()),
            language: "en".into(),
            // The version and the year in which the Linguistic Data Consortium lists it (ISLRN 927-859-759-915-2).
            version: Some("1.0".into()),
            published: Some("2018".into()),
        },
    }
}
