"""Make up a thousand patients: an id, an age, a sex, and how often they saw a doctor in a year."""

import csv
import pathlib
import random

dice = random.Random(2026)
pathlib.Path("output").mkdir(exist_ok=True)
with open("output/patients.csv", "w", newline="") as stream:
    rows = csv.writer(stream)
    rows.writerow(["patient_id", "age", "sex", "visits"])
    for patient in range(1, 1001):
        age = min(99, int(dice.triangular(0, 100, 45)))
        visits = sum(dice.random() < 0.1 + age / 400 for _ in range(12))
        rows.writerow([patient, age, dice.choice("FM"), visits])
print("made 1000 patients")
