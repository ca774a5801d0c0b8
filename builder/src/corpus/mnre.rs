//! MNRE version 2 (Zheng et al. 2021, github.com/thecharm/MNRE): relations between two mentions in a tweet.

use std::sync::Arc;

use super::format::mnre::Mnre;
use super::spec::{CorpusReference, CorpusSpec, CropFolders, CropKind, PictureFolders, SplitFiles};
use super::types::Extraction;

/// Relations of the published `ours_rel2id.json` in the order of their ids, from 1; `None` has id 0.
const RELATIONS: [&str; 22] = [
    "/per/per/parent",
    "/per/per/siblings",
    "/per/per/couple",
    "/per/per/neighbor",
    "/per/per/peer",
    "/per/per/charges",
    "/per/per/alumi",
    "/per/per/alternate_names",
    "/per/org/member_of",
    "/per/loc/place_of_residence",
    "/per/loc/place_of_birth",
    "/org/org/alternate_names",
    "/org/org/subsidiary",
    "/org/loc/locate_at",
    "/loc/loc/contain",
    "/per/misc/present_in",
    "/per/misc/awarded",
    "/per/misc/race",
    "/per/misc/religion",
    "/per/misc/nationality",
    "/misc/misc/part_of",
    "/misc/loc/held_on",
];

/// Returns what the builder has to know of the corpus.
pub fn spec() -> CorpusSpec {
    let grounding = ["mre_train_dict.pth", "mre_dev_dict.pth", "mre_test_dict.pth"];
    let detected = ["train_img2crop.pth", "val_img2crop.pth", "test_img2crop.pth"];
    CorpusSpec {
        name: "mnre".into(),
        about: "MNRE v2, multimodal relation extraction (thecharm/MNRE).".into(),
        task: Extraction::Relations,
        files: [
            SplitFiles::one_of(&["mnre_train.txt", "ours_train.txt"]),
            // One of the published names really contains a space.
            SplitFiles::one_of(&["mnre_val.txt", "mnre_val .txt", "ours_val.txt"]),
            SplitFiles::one_of(&["mnre_test.txt", "ours_test.txt"]),
        ],
        format: Arc::new(Mnre),
        classes: RELATIONS.map(str::to_owned).to_vec(),
        class_ids: Some("ours_rel2id.json".into()),
        none: Some("None".into()),
        pictures: PictureFolders {
            images: vec!["img_org/{split}".into(), "{split}".into()],
            crops: vec![
                CropFolders {
                    kind: CropKind::Grounding,
                    folder: "img_vg".into(),
                    dictionaries: grounding.map(str::to_owned),
                },
                CropFolders {
                    kind: CropKind::Detected,
                    folder: "img_detect".into(),
                    dictionaries: detected.map(str::to_owned),
                },
            ],
        },
        reference: CorpusReference {
            origin: "MNRE (Zheng et al. 2021, <https://github.com/thecharm/MNRE>)".into(),
            homepage: "https://github.com/thecharm/MNRE".into(),
            citation:
                "Zheng, C., Wu, Z., Feng, J., Fu, Z., Cai, Y. (2021). MNRE: A Challenge Multimodal Dataset for Neural \
                       Relation Extraction with Visual Evidence in Social Media Posts. ICME."
                    .into(),
            license: None,
            language: "en".into(),
            version: Some("2.0.0".into()),
            // Its README dates the release of version 2.
            published: Some("2021-06-22".into()),
        },
    }
}
