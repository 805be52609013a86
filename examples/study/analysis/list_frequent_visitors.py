"""List the patients with the most visits, one row each: more than may leave the high privacy store."""

import csv

with open("output/patients.csv", newline="") as stream:
    patients = sorted(csv.DictReader(stream), key=lambda row: -int(row["visits"]))[:10]
with open("output/frequent_visitors.csv", "w", newline="") as stream:
    rows = csv.DictWriter(stream, ["patient_id", "visits"], extrasaction="ignore")
    rows.writeheader()
    rows.writerows(patients)
print(f"listed {len(patients)} patients")
