"""Says of each test in a JUnit file how it ended; of failures all there is on standard error."""
import sys
import xml.etree.ElementTree

for suite in xml.etree.ElementTree.parse(sys.argv[1]).getroot():
    for case in suite:
        # A test of which a subtest failed has neither name nor result.
        name, ended = case.get("name", "(a test with subtests that failed)"), "passed"
        for part in case:
            if part.tag in ("error", "failure"):
                print(name, part.text, sep="\n", file=sys.stderr)
                ended = "failed: " + (part.get("message") or "").strip().split("\n")[-1]
            elif part.tag == "skipped":
                ended = "skipped: " + (part.text or "").strip().replace("\n", " ")
            elif part.tag == "output":
                ended = "failed as expected"
        print(name, case.get("outcome", ended))
