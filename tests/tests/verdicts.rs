//! A series of which nothing is made is judged and told once: over restarts, until another configuration judges.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use sagitta::identity::JobId;
use tests::series::Nagle;
use tests::site::{JOB, series_uid};
use tests::{Appliance, Site, phantom, send, wait_until};

/// The states that were told of a job, in order.
fn told(site: &Site, job: &JobId) -> Vec<String> {
    let heard = site.heard(job).unwrap().into_iter().filter(|(kind, _)| kind == "status");
    heard.map(|(_, payload)| payload["state"].as_str().unwrap().to_owned()).collect()
}

fn start(site: &Site, lines: &str) -> Appliance {
    Appliance::ready(&site.folder, &format!("{}{lines}", site.config())).unwrap()
}

#[test]
fn refused_and_incomplete_series_are_told_once() {
    let site = Site::new().unwrap();
    let left_out = "[selection]\nversion = '1'\nleave_out = ['t2']\n";
    let appliance = start(&site, left_out);
    let sent = |name: &str, vendor: &str, spoil: &dyn Fn(&std::path::Path)| {
        let folder = site.folder.join(name);
        phantom(&folder, &["--seed", "3", "--vendor", vendor]).unwrap();
        spoil(&folder);
        send(site.dicom, &folder, Nagle::Off).unwrap();
        let job = site.job(&series_uid(&folder).unwrap()).unwrap();
        site.settled(&job).unwrap();
        job
    };
    let refused = sent("refused", "siemens", &|_| {});
    let incomplete = sent("incomplete", "ge", &|folder| {
        std::fs::remove_file(folder.join("0007.dcm")).unwrap();
    });
    let before = [&refused, &incomplete].map(|job| told(&site, job));
    assert_eq!(before.clone().map(|told| told.last().unwrap().clone()), ["refused", "incomplete"]);

    // It is told first: a kill in between tells it again.
    let kept = |job: &JobId| {
        let file = site.results(job).with_file_name("verdict.json");
        wait_until("the verdict on the disk", JOB, || file.exists().then_some(())).unwrap();
    };
    [&refused, &incomplete].into_iter().for_each(kept);
    appliance.kill();
    let appliance = start(&site, left_out);
    let judged = || (appliance.log().matches("it was judged before").count() == 2).then_some(());
    wait_until("both to be found", JOB, judged)
        .unwrap_or_else(|e| panic!("{e}: {}", appliance.log()));
    assert_eq!([&refused, &incomplete].map(|job| told(&site, job)), before);
    let page = site.page("/api/jobs").unwrap();
    assert!(page.contains("\"refused\"") && page.contains("\"incomplete\""), "{page}");

    // Another table judges again.
    appliance.kill();
    let _appliance = start(&site, "");
    assert_eq!(site.state(&refused, &["done"]).unwrap()["state"], "done");
}
