//! Invoices as other people's software reads them.

use authsome_e2e::clients::{self, json_from};
use authsome_e2e::process;
use serde_json::json;

#[test]
fn every_text_of_an_invoice_can_be_read_in_its_pdf() {
    let Some(python) = clients::python_with_pypdf() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("UTF-8");
    let made = process::command("examples/documents").arg(path).output().expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/read_documents.py");
    let found = json_from(&python, &[script, path]);
    let documents = found.as_object().expect("an object");
    assert_eq!(documents.len(), 7, "{found}");
    for (name, document) in documents {
        let texts = document["texts"].as_u64().expect("a number");
        assert!(texts > 15, "{name}: {document}");
        // What no font has is drawn as boxes; readers that know of replaced text find it.
        let missing: Vec<_> = document["missing"].as_array().expect("a list").iter().collect();
        let fine = |text: &str| name == "bare" && text.contains("株式会社");
        let missing: Vec<_> =
            missing.into_iter().filter(|text| !fine(text.as_str().unwrap_or_default())).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
        assert_eq!(document["numbered"], true, "{name}");
        assert_eq!(document["headed"], true, "{name}");
    }
    assert_eq!(found["month"]["title"], "Invoice INV-000042");
    assert_eq!(found["month"]["author"], "AuthSome Cloud");
    assert_eq!(found["month"]["pages"], 1);
    assert_eq!(found["month"]["paper"], json!([595, 842]));
    assert_eq!(found["paid"]["paper"], json!([612, 792]), "a letter, where letters are usual");
    assert!(found["long"]["pages"].as_u64().expect("a number") > 3, "{found}");
    let again = tempfile::tempdir().expect("a temporary folder");
    let made = process::command("examples/documents").arg(again.path()).status().expect("it runs");
    assert!(made.success());
    for name in documents.keys() {
        let read = |folder: &tempfile::TempDir| {
            std::fs::read(folder.path().join(format!("{name}.pdf"))).expect("a file")
        };
        assert!(read(&folder) == read(&again), "{name}.pdf differs from run to run");
    }
}
