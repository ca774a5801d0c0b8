//! FewRel (Han et al. 2018, github.com/thunlp/FewRel) in the split that continual relation extraction uses: 80 relations
//! with 420 training, 140 validation and 140 test rows each (files of github.com/nju-websoft/CEAR). Text only.

use std::sync::Arc;

use super::format::FewRel;
use super::spec::{CorpusReference, CorpusSpec, PictureFolders, SplitFiles};
use super::types::Extraction;

/// Returns what the builder has to know of the corpus. Its relations are Wikidata properties, in the order of the file.
pub fn spec() -> CorpusSpec {
    CorpusSpec {
        name: "fewrel".into(),
        about: "FewRel, relation extraction from Wikipedia, 80 relations (thunlp/FewRel, split of nju-websoft/CEAR)."
            .into(),
        task: Extraction::Relations,
        files: ["fewrel_train.json", "fewrel_val.json", "fewrel_test.json"].map(|name| SplitFiles::one_of(&[name])),
        format: Arc::new(FewRel),
        classes: Vec::new(),
        class_ids: None,
        none: None,
        pictures: PictureFolders::default(),
        reference: CorpusReference {
            origin: "FewRel (Han et al. 2018, <https://github.com/thunlp/FewRel>; split of \
                     <https://github.com/nju-websoft/CEAR>)"
                .into(),
            homepage: "https://github.com/thunlp/FewRel".into(),
            citation:
                "Han et al. (2018). FewRel: A Large-Scale Supervised Few-Shot Relation Classification Dataset with \
                       State-of-the-Art Evaluation. EMNLP."
                    .into(),
            license: Some("MIT".into()),
            language: "en".into(),
            version: Some("1.0".into()),
            // The year of the proceedings.
            published: Some("2018".into()),
        },
    }
}
