exec perl main.pl
