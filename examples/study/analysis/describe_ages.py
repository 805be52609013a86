"""Count the patients in each band of ten years."""

import collections
import csv

with open("output/patients.csv", newline="") as stream:
    bands = collections.Counter(int(row["age"]) // 10 * 10 for row in csv.DictReader(stream))
with open("output/age_bands.csv", "w", newline="") as stream:
    rows = csv.writer(stream)
    rows.writerow(["age_band", "patients"])
    for band in sorted(bands):
        rows.writerow([f"{band}-{band + 9}", bands[band]])
        print(f"{band:>2} to {band + 9:>2}: {bands[band]}")
