# driver.awk: turns the driver's symbols (`address T name`) and bytes (rows in octal) into the assembly text that goes into every object: strings,
# which an assembler reads ten times as fast as numbers.
BEGIN {
  print "\t.section\t.text.optc_driver,\"ax\",%progbits"
  print "\t.p2align\t6"
  print ".Loptc_driver:"
}
$2 == "T" { name[n++] = $3; address[$3] = $1; next }
{
  line = "\t.ascii\t\""
  for (i = 1; i <= NF; i++) line = line "\\" $i
  print line "\""
}
END {
  for (i = 0; i < n; i++) {
    print "\t.type\t" name[i] ",%function"
    print name[i] " = .Loptc_driver+0x" address[name[i]]
  }
  print "\t.text"
}
