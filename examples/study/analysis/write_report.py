"""Put the table and the chart on one page."""

import csv
import pathlib

with open("output/age_bands.csv", newline="") as stream:
    header, *rows = csv.reader(stream)
table = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
head = "".join(f"<th>{title}</th>" for title in header)
chart = pathlib.Path("output/visits.svg").read_text()
page = f"<!doctype html>\n<title>Report</title>\n<h1>Made-up patients</h1>\n<table>\n<tr>{head}</tr>\n{table}</table>\n{chart}"
pathlib.Path("output/report.html").write_text(page)
print(f"wrote a page of {len(page)} characters")
