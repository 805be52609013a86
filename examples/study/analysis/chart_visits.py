"""Draw how many patients had how many visits, as bars."""

import collections
import csv

with open("output/patients.csv", newline="") as stream:
    visits = collections.Counter(int(row["visits"]) for row in csv.DictReader(stream))
top, width, height = max(visits.values()), 40, 200
bars = []
for number in range(max(visits) + 1):
    bar = visits[number] / top * height
    x = 20 + number * width
    bars.append(f'<rect x="{x}" y="{220 - bar:.1f}" width="{width - 8}" height="{bar:.1f}" fill="#00397a"/>')
    bars.append(f'<text x="{x + width / 2 - 4}" y="240" font-size="12" text-anchor="middle">{number}</text>')
size = 40 + width * (max(visits) + 1)
with open("output/visits.svg", "w") as stream:
    stream.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="260" font-family="sans-serif">\n')
    stream.write('<text x="20" y="14" font-size="13">Patients by visits in a year</text>\n')
    stream.write("\n".join(bars) + "\n</svg>\n")
print(f"drew {len(visits)} bars")
