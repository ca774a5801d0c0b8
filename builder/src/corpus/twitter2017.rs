//! Twitter-2017 (Lu et al. 2018, files of github.com/jefferyYu/UMT): named entities in tweets.

use std::sync::Arc;

use super::format::twitter::Twitter;
use super::spec::{CorpusReference, CorpusSpec, CropFolders, CropKind, PictureFolders, SplitFiles};
use super::types::Extraction;
use crate::bio;

/// Returns what the builder has to know of the corpus.
pub fn spec() -> CorpusSpec {
    let grounding = ["twitter2017_train_dict.pth", "twitter2017_val_dict.pth", "twitter2017_test_dict.pth"];
    CorpusSpec {
        name: "twitter2017".into(),
        about: "Twitter-2017, multimodal named-entity recognition (jefferyYu/UMT).".into(),
        task: Extraction::Entities,
        files: [&["train.txt"][..], &["valid.txt", "val.txt"], &["test.txt"]].map(SplitFiles::one_of),
        format: Arc::new(Twitter),
        classes: ["PER", "LOC", "ORG", "MISC"].map(str::to_owned).to_vec(),
        class_ids: None,
        none: Some(bio::OUTSIDE.into()),
        pictures: PictureFolders {
            images: vec!["twitter2017_images".into()],
            crops: vec![
                CropFolders {
                    kind: CropKind::Grounding,
                    folder: "twitter2017_aux_images".into(),
                    dictionaries: grounding.map(str::to_owned),
                },
                CropFolders {
                    kind: CropKind::Detected,
                    folder: "twitter17_detect".into(),
                    dictionaries: ["twitter17_img2crop.pth"; 3].map(str::to_owned),
                },
            ],
        },
        reference: CorpusReference {
            origin: "Twitter-2017 (Lu et al. 2018, files of <https://github.com/jefferyYu/UMT>)".into(),
            homepage: "https://github.com/jefferyYu/UMT".into(),
            citation: "Lu et al. (2018). Visual Attention Model for Name Tagging in Multimodal Social Media. ACL."
                .into(),
            license: None,
            language: "en".into(),
            version: None,
            // The README of the repository is dated so.
            published: Some("2020-04-12".into()),
        },
    }
}
